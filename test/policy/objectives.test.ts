import { describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { centerOf, createObjective, type ObjectiveInput } from '../../ts/policy/objectives.js'
import { objectiveSettings } from '../../ts/policy/settings.js'

// Three responses, four heads; head 3 is outside the ensemble.
const scores = Float32Array.of(1, 2, 3, 100, 2, 2, 2, -100, -1, 0, 4, 7)

function input(changes: Partial<ObjectiveInput> = {}): ObjectiveInput {
  return {
    scores,
    heads: 4,
    proxy: 1,
    ensemble: [0, 1, 2],
    beta: 0.5,
    centers: null,
    random: Random.from(0, 'test'),
    ...changes,
  }
}

function evaluate(settings: unknown, changes: Partial<ObjectiveInput> = {}) {
  const { scores, klWeights, sigma } = createObjective(objectiveSettings.parse(settings))(input(changes))
  return {
    scores: Array.from(scores),
    klWeights: Array.from(klWeights),
    sigma: sigma === null ? null : Array.from(sigma),
  }
}
const f = (values: readonly number[]) => values.map(Math.fround)
// Over heads 0 to 2: means 2, 2, 1; sums of squares 2, 0, 14.
const std = [1, 0, Math.sqrt(7)]

test('vanilla: the proxy head and beta', () => {
  expect(evaluate({ kind: 'vanilla' })).toEqual({ scores: [2, 2, 0], klWeights: [0.5, 0.5, 0.5], sigma: null })
  expect(evaluate({ kind: 'vanilla' }, { proxy: 3 }).scores).toEqual([100, -100, 7])
})

test.each(['reference', 'prompt'])('sigma centred on %s is refused where there are no centers', (center) => {
  const run = () => evaluate({ kind: 'variance-kl', sigma: { center } })
  expect(run).toThrow(expect.objectContaining({ code: 'E_CONFIG', argument: 'sigma.center' }))
})

describe('variance-weighted KL', () => {
  test('sigma and sigma^2 over the heads of the ensemble, ddof 1 and 0', () => {
    expect(evaluate({ kind: 'variance-kl' })).toEqual({
      scores: [2, 2, 0],
      klWeights: f(std.map((s) => 0.5 * s)),
      sigma: f(std),
    })
    expect(evaluate({ kind: 'variance-kl', sigma: { power: 'variance' } }).klWeights).toEqual(f([0.5, 0, 3.5]))
    expect(evaluate({ kind: 'variance-kl', sigma: { power: 'variance', ddof: 0 } }).klWeights).toEqual(
      f([1 / 3, 0, 7 / 3]),
    )
  })

  test('centred by head, and by prompt and head', () => {
    const reference = Float32Array.of(0, 1, 2, 50)
    // Centred scores: 1 1 1 | 2 1 0 | -1 -1 2
    expect(evaluate({ kind: 'variance-kl' }, { centers: reference }).sigma).toEqual(f([0, 1, Math.sqrt(3)]))
    const byPrompt = Float32Array.of(1, 2, 3, 0, 0, 0, 0, 0, -1, 0, 3, 0)
    expect(evaluate({ kind: 'variance-kl' }, { centers: byPrompt }).sigma).toEqual(f([0, 0, Math.sqrt(1 / 3)]))
  })

  test('an offset of a head moves raw sigma and leaves centred sigma', () => {
    const offset = Float32Array.of(10, 0, -3, 5)
    const moved = scores.map((score, index) => score + (offset[index % 4] as number))
    expect(evaluate({ kind: 'variance-kl' }, { scores: moved }).sigma).not.toEqual(f(std))
    expect(evaluate({ kind: 'variance-kl' }, { scores: moved, centers: offset }).sigma).toEqual(f(std))
  })

  test('one head has no sample variance', () => {
    expect(() => evaluate({ kind: 'variance-kl' }, { ensemble: [1] })).toThrow('ensemble')
    expect(evaluate({ kind: 'variance-kl', sigma: { ddof: 0 } }, { ensemble: [1] }).sigma).toEqual([0, 0, 0])
  })
})

test('a constant sigma c is vanilla at beta * c, to the bit', () => {
  for (const [beta, constant] of [
    [0.05, 2.7],
    [0.2, 1 / 3],
    [1e-3, 1e3],
  ] as const) {
    const control = evaluate({ kind: 'variance-kl', sigma: { constant } }, { beta })
    const vanilla = evaluate({ kind: 'vanilla' }, { beta: beta * constant })
    expect(control.klWeights).toEqual(vanilla.klWeights)
    expect(control.scores).toEqual(vanilla.scores)
    expect(evaluate({ kind: 'vanilla' }, { beta: beta * constant * 1.001 }).klWeights).not.toEqual(control.klWeights)
  }
})

test('shuffled sigma: the same values elsewhere, by seed', () => {
  const rows = 64
  const many = Float32Array.from({ length: rows * 4 }, (_, index) => Math.sin(index * 1.7) * (1 + index / 9))
  const shuffled = (seed: number) =>
    evaluate({ kind: 'variance-kl', sigma: { shuffle: true } }, { scores: many, random: Random.from(seed, 'x') })
  const plain = evaluate({ kind: 'variance-kl' }, { scores: many })
  expect(shuffled(1)).toEqual(shuffled(1))
  expect(shuffled(1)).not.toEqual(shuffled(2))
  expect(shuffled(1).klWeights).not.toEqual(plain.klWeights)
  expect(shuffled(1).klWeights.sort()).toEqual(plain.klWeights.sort())
  expect(shuffled(1).scores).toEqual(plain.scores)
})

test('baselines: lower confidence bound, mean, worst, mean minus variance', () => {
  const beta = [0.5, 0.5, 0.5]
  expect(evaluate({ kind: 'lcb', k: 2 })).toEqual({
    scores: f([0, 2, -2 * Math.sqrt(7)]),
    klWeights: beta,
    sigma: f(std),
  })
  expect(evaluate({ kind: 'mean' })).toEqual({ scores: [2, 2, 1], klWeights: beta, sigma: null })
  expect(evaluate({ kind: 'worst' })).toEqual({ scores: [1, 2, -1], klWeights: beta, sigma: null })
  expect(evaluate({ kind: 'mean-variance', lambda: 3 })).toEqual({
    scores: [-1, 2, -20],
    klWeights: beta,
    sigma: [1, 0, 7],
  })
})

test('which objectives need reference responses', () => {
  const center = (settings: unknown) => centerOf(objectiveSettings.parse(settings))
  expect(center({ kind: 'vanilla' })).toBe('none')
  expect(center({ kind: 'variance-kl', sigma: { center: 'prompt' } })).toBe('prompt')
  expect(center({ kind: 'lcb', k: 1, sigma: { center: 'reference' } })).toBe('reference')
  expect(center({ kind: 'variance-kl', sigma: { center: 'reference', constant: 1 } })).toBe('none')
})

test('identities: k = 0 is vanilla, lambda = 0 is the ensemble mean', () => {
  const rewarded = (settings: unknown) => {
    const { scores, klWeights } = evaluate(settings)
    return { scores, klWeights }
  }
  expect(rewarded({ kind: 'lcb', k: 0 })).toEqual(rewarded({ kind: 'vanilla' }))
  expect(rewarded({ kind: 'mean-variance', lambda: 0 })).toEqual(rewarded({ kind: 'mean' }))
  expect(rewarded({ kind: 'lcb', k: 0.1 })).not.toEqual(rewarded({ kind: 'vanilla' }))
  expect(rewarded({ kind: 'mean-variance', lambda: 0.1 })).not.toEqual(rewarded({ kind: 'mean' }))
})
