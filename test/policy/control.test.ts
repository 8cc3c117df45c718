import { describe, expect, test } from '@jest/globals'
import { KlController } from '../../ts/policy/kl-control.js'
import { ScoreShaper } from '../../ts/policy/score-shaper.js'
import { klControl, PPO_PRESETS, ppoSettings, scoreShaping } from '../../ts/policy/settings.js'
import { StepWarnings } from '../../ts/policy/step-warnings.js'

test('adaptive KL, by hand', () => {
  const control = new KlController(klControl.parse({ adaptive: true, initial: 0.2, target: 6, horizon: 10000 }))
  control.update(6.6, 128)
  expect(control.value).toBeCloseTo(0.2 * (1 + (0.1 * 128) / 10000), 15)
  const before = control.value
  control.update(60, 128)
  expect(control.value).toBeCloseTo(before * (1 + (0.2 * 128) / 10000), 15)
  control.update(-5, 256)
  expect(control.value).toBeCloseTo(before * (1 + (0.2 * 128) / 10000) * (1 - (0.2 * 256) / 10000), 15)
  expect(new KlController(klControl.parse({}), JSON.parse(JSON.stringify(control.state))).value).toBe(control.value)
})

test('fixed KL stays', () => {
  const control = new KlController(klControl.parse({ initial: 0.05 }))
  control.update(100, 128)
  expect(control.value).toBe(0.05)
})

// Classic TRL's RunningMoments and PPOTrainer.step over two batches, worked out in double precision.
test('score scaling with running moments, by hand', () => {
  const shaper = new ScoreShaper(scoreShaping.parse({ scale: true }))
  // Batch 1: mean 2, sample variance 1 of (1, 2, 3).
  expect(Array.from(shaper.shape(Float32Array.of(1, 2, 3)))).toEqual(
    [1, 2, 3].map((x) => Math.fround(x / (1 + 2 ** -23))),
  )
  // After (5, 9) the five values have mean 4 and squares 9 + 4 + 1 + 1 + 25 = 40: sample variance 10.
  const second = shaper.shape(Float32Array.of(5, 9))
  expect(second[0]).toBeCloseTo(5 / Math.sqrt(10), 6)
  expect(second[1]).toBeCloseTo(9 / Math.sqrt(10), 6)
  expect(shaper.state).toMatchObject({ count: 5, mean: 4 })
  expect(shaper.state.variance).toBeCloseTo(8, 12)
})

test('normalising and clipping', () => {
  const shaper = new ScoreShaper(scoreShaping.parse({ scale: true, normalise: true, clip: 0.5 }))
  expect(Array.from(shaper.shape(Float32Array.of(1, 2, 3)))).toEqual([-0.5, 0, 0.5])
  const clipOnly = new ScoreShaper(scoreShaping.parse({ clip: 2 }))
  expect(Array.from(clipOnly.shape(Float32Array.of(-7, 1, 7)))).toEqual([-2, 1, 2])
  const off = new ScoreShaper(scoreShaping.parse({}))
  const scores = Float32Array.of(-7, 1, 7)
  expect(off.shape(scores)).toBe(scores)
})

test('moments go on from their state', () => {
  const settings = scoreShaping.parse({ scale: true, normalise: true })
  const whole = new ScoreShaper(settings)
  whole.shape(Float32Array.of(0.1, 0.7, -3))
  const resumed = new ScoreShaper(settings, JSON.parse(JSON.stringify(whole.state)))
  expect(resumed.shape(Float32Array.of(2, 4))).toEqual(whole.shape(Float32Array.of(2, 4)))
})

describe('what goes wrong in training says what to change', () => {
  const settings = { ratioThreshold: 10 }
  const told = (steps: Record<string, number>[]) => {
    const messages: string[] = []
    const warnings = new StepWarnings((message) => messages.push(message))
    for (const [index, stats] of steps.entries()) warnings.check(index + 1, stats, settings)
    return messages
  }
  const kl = (...values: number[]) => values.map((value) => ({ 'objective/kl': value }))
  test('a KL below zero, in one step by much or in five in a row', () => {
    expect(told(kl(-0.1, -0.1, -0.1, -0.1, 0.1, -0.1, -0.1))).toEqual([])
    expect(told(kl(0.1, -0.1, -0.1, -0.1, -0.1, -0.1, -0.1))).toEqual([
      expect.stringMatching(/^step 6: .*estimator: full/),
    ])
    expect(told(kl(0.1, -1.1))).toEqual([expect.stringMatching(/^step 2: .*temperature 1/)])
  })
  test('ratios', () => {
    expect(told([{ 'ppo/policy/ratio': 10 }])).toEqual([])
    expect(told([{ 'ppo/policy/ratio': Number.POSITIVE_INFINITY }])).toEqual([
      expect.stringContaining('lower optimiser.lr'),
    ])
  })
  test('entropy that has collapsed', () => {
    const entropy = (...values: number[]) => values.map((value) => ({ 'ppo/policy/entropy': value }))
    expect(told(entropy(3, 1, 0.31))).toEqual([])
    expect(told(entropy(3, 1, 0.29, 0.1))).toEqual([expect.stringMatching(/^step 3: .*0\.290.*kl\.initial/)])
  })
})

test('warnings come once', () => {
  const told: string[] = []
  const warnings = new StepWarnings((message) => told.push(message))
  warnings.check(1, { 'objective/kl': -0.9, 'ppo/policy/ratio': 1, 'ppo/std_scores': 1 }, { ratioThreshold: 10 })
  expect(told).toEqual([])
  warnings.check(2, { 'objective/kl': -1.5, 'ppo/policy/ratio': 11, 'ppo/std_scores': 1 }, { ratioThreshold: 10 })
  warnings.check(3, { 'objective/kl': -1.5 }, { ratioThreshold: 10 })
  expect(told.length).toBe(2)
  expect(told[0]).toContain('-1.50')
  warnings.checkSampling({ temperature: 1, topK: 0, topP: 1, minNewTokens: 0 })
  expect(told.length).toBe(2)
  warnings.checkSampling({ temperature: 0.7, topK: 0, topP: 1, minNewTokens: 0 })
  expect(told.length).toBe(3)
})

test("defaults are classic TRL's", () => {
  expect(ppoSettings.parse({})).toMatchObject({
    ...{
      batchSize: 128,
      miniBatchSize: 128,
      ppoEpochs: 4,
      gamma: 1,
      lambda: 0.95,
      clipRange: 0.2,
      clipRangeValue: 0.2,
      vfCoef: 0.1,
    },
    ...{ ratioThreshold: 10, earlyStopping: false, targetKl: 1, whitenAdvantages: true, whitenRewards: false, seed: 0 },
    optimiser: { lr: 1.41e-5, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 0 },
    schedule: { shape: 'constant', warmupRatio: 0 },
    kl: { initial: 0.2, target: 6, horizon: 10000, estimator: 'kl' },
    sampling: { temperature: 1, topK: 0, topP: 1, minNewTokens: 0, stopAtEos: true },
    objective: { kind: 'vanilla', klGradient: 'reward' },
  })
})

test("the paper's tables 6 and 7", () => {
  const vanilla = ppoSettings.parse(PPO_PRESETS['paper-vanilla'])
  expect(vanilla).toMatchObject({
    batchSize: 128,
    steps: 192,
    optimiser: { lr: 1.414e-5 },
    kl: { initial: 0.2, adaptive: false },
  })
  const aware = ppoSettings.parse(PPO_PRESETS['paper-variance-aware'])
  expect(aware).toMatchObject({
    batchSize: 128,
    steps: 192,
    optimiser: { lr: 1.5e-5 },
    kl: { initial: 0.05, adaptive: false },
  })
  expect(aware.objective).toMatchObject({
    kind: 'variance-kl',
    sigma: { power: 'std', ddof: 1, center: 'none', shuffle: false },
  })
})
