import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Policy } from '../../ts/addon/policy.js'
import { PpoTrainer } from '../../ts/addon/ppo-trainer.js'
import { RewardModel } from '../../ts/addon/reward-model.js'
import {
  HeadsTrainer,
  LanguageModelTrainer,
  RewardTrainer,
  type RewardTrainerOptions,
} from '../../ts/addon/trainers.js'
import { createPolicy, createScorer, rejection } from './small-models.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-trainers-'))
  const scorer = await createScorer(3)
  const policy = await createPolicy()
  await scorer.save(join(folder, 'scorer'))
  await policy.save(join(folder, 'policy'))
  await Promise.all([scorer.dispose(), policy.dispose()])
})
afterAll(() => rm(folder, { recursive: true }))
const loadPolicy = () => Policy.load(join(folder, 'policy'), { dtype: 'float32' })
const loadScorer = () => RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })

/** Texts in which each token follows from the one before. */
const TEXTS = Array.from({ length: 12 }, (_, row) => Array.from({ length: 10 }, (_, t) => 3 + ((row + t * 7) % 30)))
/** Pairs told apart by their last token. */
const CHOSEN = TEXTS.map((row) => [...row, 50])
const REJECTED = TEXTS.map((row) => [...row.slice(0, 5), 60])

describe('LanguageModelTrainer', () => {
  test('learns, and goes on bit-exactly from a saved state', async () => {
    await using policy = await loadPolicy()
    await using trainer = await LanguageModelTrainer.create(policy, { maxGradNorm: 1, weightDecay: 0.01 })
    const losses: number[] = []
    for (let step = 0; step < 10; step++) losses.push((await trainer.step({ ids: TEXTS }, { lr: 0.01 })).loss)
    expect(losses[9]).toBeLessThan((losses[0] as number) * 0.7)

    await policy.save(join(folder, 'half'))
    await trainer.saveState(join(folder, 'half.safetensors'))
    await using resumed = await Policy.load(join(folder, 'half'), { dtype: 'float32' })
    await using resumedTrainer = await LanguageModelTrainer.create(resumed, { maxGradNorm: 1, weightDecay: 0.01 })
    await resumedTrainer.loadState(join(folder, 'half.safetensors'))
    for (let step = 0; step < 2; step++) {
      expect(await resumedTrainer.step({ ids: TEXTS }, { lr: 0.01 })).toEqual(
        await trainer.step({ ids: TEXTS }, { lr: 0.01 }),
      )
    }
    // Without the state the moments are lost and the second step differs.
    await using fresh = await Policy.load(join(folder, 'half'), { dtype: 'float32' })
    await using freshTrainer = await LanguageModelTrainer.create(fresh, { maxGradNorm: 1, weightDecay: 0.01 })
    const lost = [
      await freshTrainer.step({ ids: TEXTS }, { lr: 0.01 }),
      await freshTrainer.step({ ids: TEXTS }, { lr: 0.01 }),
    ]
    const kept = await policy.logprobs({ ids: TEXTS })
    expect(await resumed.logprobs({ ids: TEXTS })).toEqual(kept)
    expect(await fresh.logprobs({ ids: TEXTS })).not.toEqual(kept)
    expect(lost).toHaveLength(2)
  })

  test('a cancelled step changes nothing', async () => {
    await using policy = await loadPolicy()
    await using trainer = await LanguageModelTrainer.create(policy, { batchTokens: 10 })
    const before = await policy.logprobs({ ids: TEXTS })
    const controller = new AbortController()
    const onProgress = () => controller.abort()
    const step = trainer.step(
      { ids: Array.from({ length: 40 }, () => TEXTS).flat() },
      { lr: 0.1, signal: controller.signal, onProgress },
    )
    expect(await rejection(step)).toMatchObject({ name: 'AbortError', code: 'E_CANCELLED' })
    expect(await policy.logprobs({ ids: TEXTS })).toEqual(before)
    await trainer.step({ ids: TEXTS }, { lr: 0.1 })
    expect(await policy.logprobs({ ids: TEXTS })).not.toEqual(before)
  })

  test('bad input', async () => {
    await using policy = await loadPolicy()
    await using scorer = await loadScorer()
    await using trainer = await LanguageModelTrainer.create(policy)
    for (const lr of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(await rejection(trainer.step({ ids: TEXTS }, { lr }))).toMatchObject({
        code: 'E_RANGE',
        argument: 'options.lr',
      })
    }
    expect((await rejection(trainer.step({ ids: [[3]] }, { lr: 1e-3 }))).code).toBe('E_SHAPE')
    expect((await rejection(trainer.step({ ids: [[3, 101]] }, { lr: 1e-3 }))).code).toBe('E_RANGE')
    expect((await rejection(LanguageModelTrainer.create(scorer as unknown as Policy))).code).toBe('E_NO_HEAD')
    expect((await rejection(LanguageModelTrainer.create(policy, { beta1: 2 }))).code).toBe('E_RANGE')
    expect((await rejection(LanguageModelTrainer.create(policy, { momentum: 0.9 } as object))).argument).toBe(
      'options.momentum',
    )
    expect((await rejection(trainer.loadState(join(folder, 'nothing')))).code).toBe('E_NOT_FOUND')
    expect((await rejection(trainer.loadState(join(folder, 'scorer', 'model.safetensors')))).code).toMatch(
      /^E_(MISSING_TENSOR|CORRUPT_FILE)$/,
    )
  })
})

describe('RewardTrainer', () => {
  test('learns to tell the pairs apart', async () => {
    await using model = await loadScorer()
    await using trainer = await RewardTrainer.create(model)
    const first = await trainer.step({ chosen: CHOSEN, rejected: REJECTED }, { lr: 0.01 })
    expect(first.lossPerHead).toHaveLength(3)
    expect(first.loss).toBeCloseTo(
      first.lossPerHead.reduce((sum, loss) => sum + loss, 0),
      4,
    )
    let last = first
    for (let step = 0; step < 10; step++)
      last = await trainer.step({ chosen: CHOSEN, rejected: REJECTED }, { lr: 0.01 })
    expect(last.loss).toBeLessThan(first.loss * 0.5)
    expect(last.accuracy).toBe(1)
    expect((await rejection(trainer.step({ chosen: CHOSEN, rejected: REJECTED.slice(1) }, { lr: 0.01 }))).code).toBe(
      'E_SHAPE',
    )
  })
})

test('heads are not replaced under an open trainer', async () => {
  await using model = await loadScorer()
  const weights = await model.headWeights()
  const trainer = await RewardTrainer.create(model)
  expect(await rejection(model.setHeadWeights(weights, 3))).toMatchObject({ code: 'E_BUSY', argument: 'model' })
  await trainer.dispose()
  await model.setHeadWeights(weights, 3)
  expect(await model.headWeights()).toEqual(weights)
})

describe('what a step leaves out or does twice', () => {
  const losses = async (options: RewardTrainerOptions) => {
    await using model = await loadScorer()
    await using trainer = await RewardTrainer.create(model, options)
    const steps = []
    for (let step = 0; step < 2; step++)
      steps.push(await trainer.step({ chosen: CHOSEN, rejected: REJECTED }, { lr: 0.01 }))
    return steps
  }

  test('prefixes of pairs are computed once; checkpoints change no bit', async () => {
    const [shared, apart, checkpointed] = [
      await losses({}),
      await losses({ sharePrefixes: false }),
      await losses({ activationCheckpointing: true }),
    ]
    expect(apart[0]?.computedTokens).toBe(apart[0]?.tokens)
    expect(shared[0]?.computedTokens).toBe((shared[0]?.tokens as number) - 5 * CHOSEN.length)
    expect(shared[0]?.loss).toBeCloseTo(apart[0]?.loss as number, 5)
    expect(checkpointed).toEqual(shared)
    for (const activationMemory of [0, 1])
      expect(await losses({ activationCheckpointing: true, activationMemory })).toEqual(shared)
    expect(shared[1]?.loss).not.toBe(shared[0]?.loss)
  })

  test('activationMemory is of checkpointing, in MiB', async () => {
    await using model = await loadScorer()
    const refused = { code: 'E_RANGE', argument: 'options.activationMemory' }
    await expect(RewardTrainer.create(model, { activationMemory: 4 })).rejects.toMatchObject(refused)
    const negative = { activationCheckpointing: true, activationMemory: -1 }
    await expect(RewardTrainer.create(model, negative)).rejects.toMatchObject(refused)
  })

  test('language-model and PPO trainers take activationCheckpointing', async () => {
    const loss = async (activationCheckpointing: boolean) => {
      await using policy = await loadPolicy()
      await using trainer = await LanguageModelTrainer.create(policy, { activationCheckpointing })
      await trainer.step({ ids: TEXTS }, { lr: 0.01 })
      return (await trainer.step({ ids: TEXTS }, { lr: 0.01 })).loss
    }
    expect(await loss(true)).toBe(await loss(false))
    const stats = async (activationCheckpointing: boolean) => {
      await using policy = await loadPolicy()
      await policy.addValueHead(3)
      await using reference = await policy.clone()
      const sizes = { ppoEpochs: 2, miniBatchSize: 4, microBatchTokens: 64, activationCheckpointing }
      await using trainer = await PpoTrainer.create(policy, reference, sizes)
      await using rollout = await trainer.rollout({ ids: TEXTS, maxNewTokens: 4 })
      const scores = Float32Array.from(TEXTS, (_, row) => Math.sin(row))
      const klWeights = new Float32Array(TEXTS.length).fill(0.1)
      const result = await trainer.step(rollout, { scores, klWeights, seed: 1 }, { lr: 1e-3 })
      return Object.fromEntries(Object.entries(result).filter(([name]) => !name.startsWith('time/')))
    }
    expect(await stats(true)).toEqual(await stats(false))
  })
})

describe('HeadsTrainer', () => {
  test('heads on a frozen base learn, and their weights go back into the model', async () => {
    await using model = await loadScorer()
    await using features = await model.features({ ids: [...CHOSEN, ...REJECTED] })
    const { hidden } = features
    const initial = Float32Array.from({ length: 4 * hidden }, (_, index) => 0.02 * Math.sin(index))
    await using trainer = await HeadsTrainer.create(features, { heads: 4, initial, anchor: 1e-3 })
    const pairs = Int32Array.from(CHOSEN, (_, pair) => pair)
    const batch = { chosen: pairs, rejected: pairs.map((pair) => pair + CHOSEN.length) }
    expect(await trainer.weights()).toEqual(initial)
    let last = await trainer.step(batch, { lr: 0.05 })
    for (let step = 0; step < 20; step++) last = await trainer.step(batch, { lr: 0.05 })
    expect(Array.from(last.accuracyPerHead)).toEqual([1, 1, 1, 1])
    const perHead = { chosen: new Int32Array(8).fill(1), rejected: new Int32Array(8).fill(20), perHead: true }
    expect((await trainer.step(perHead, { lr: 0 })).lossPerHead).toHaveLength(4)

    await model.setHeadWeights(await trainer.weights(), 4)
    const scores = await model.score({ ids: [CHOSEN[0] as number[], REJECTED[0] as number[]] })
    for (let head = 0; head < 4; head++)
      expect(scores[0]?.scores[head]).toBeGreaterThan(scores[1]?.scores[head] as number)
    expect(
      (await rejection(trainer.step({ chosen: Int32Array.of(24), rejected: Int32Array.of(0) }, { lr: 0.1 }))).code,
    ).toBe('E_RANGE')
    expect((await rejection(HeadsTrainer.create(features, { heads: 4, initial: initial.slice(1) }))).argument).toBe(
      'options.initial',
    )
  })
})

describe('PpoTrainer', () => {
  const prompts = TEXTS.map((row) => row.slice(0, 3))
  const sampling = { ids: prompts, maxNewTokens: 6, seed: 3 }

  test('a rewarded token becomes more frequent; the reference stays', async () => {
    await using reference = await loadPolicy()
    await using policy = await reference.clone()
    await policy.addValueHead(1)
    expect(policy.info.hasValueHead).toBe(true)
    await using trainer = await PpoTrainer.create(policy, reference, { miniBatchSize: 6 })
    const before = await reference.logprobs({ ids: prompts })
    const share = (responses: Int32Array[]) =>
      responses.flatMap((row) => Array.from(row)).filter((id) => id < 50).length /
      responses.flatMap((row) => Array.from(row)).length
    const shares: number[] = []
    for (let step = 0; step < 12; step++) {
      await using rollout = await trainer.rollout({ ...sampling, seed: step, exactKl: true })
      if (step === 0) {
        expect(Math.max(...rollout.klSums.map(Math.abs))).toBeLessThan(1e-3)
        expect(Math.max(...rollout.exactKlSums)).toBeLessThan(1e-3)
      }
      shares.push(share(rollout.responses))
      const scores = Float32Array.from(rollout.responses, (row) => row.filter((id) => id < 50).length / row.length)
      const stats = await trainer.step(
        rollout,
        { scores, klWeights: new Float32Array(prompts.length).fill(0.01), seed: step },
        { lr: 0.01 },
      )
      expect(Object.values(stats).every(Number.isFinite)).toBe(true)
    }
    expect(shares.at(-1)).toBeGreaterThan(shares[0] as number)
    expect(await reference.logprobs({ ids: prompts })).toEqual(before)
  })

  test('bad input', async () => {
    await using reference = await loadPolicy()
    await using policy = await reference.clone()
    expect((await rejection(PpoTrainer.create(policy, reference))).code).toBe('E_NO_HEAD')
    await policy.addValueHead()
    expect((await rejection(PpoTrainer.create(policy, policy))).code).toBe('E_RANGE')
    expect((await rejection(PpoTrainer.create(policy, reference, { ppoEpochs: 0 }))).argument).toBe('options.ppoEpochs')
    await using trainer = await PpoTrainer.create(policy, reference)
    const rollout = await trainer.rollout(sampling)
    const right = { scores: new Float32Array(12), klWeights: new Float32Array(12), seed: 0 }
    expect(
      await rejection(trainer.step(rollout, { ...right, scores: new Float32Array(11) }, { lr: 1e-3 })),
    ).toMatchObject({ code: 'E_SHAPE', argument: 'options.scores' })
    expect(
      (await rejection(trainer.step(rollout, { ...right, klWeights: new Float32Array(12).fill(-1) }, { lr: 1e-3 })))
        .code,
    ).toBe('E_RANGE')
    expect(
      (
        await rejection(
          trainer.step(rollout, { ...right, scores: new Float32Array(12).fill(Number.NaN) }, { lr: 1e-3 }),
        )
      ).code,
    ).toBe('E_NON_FINITE')
    await rollout.dispose()
    expect((await rejection(trainer.step(rollout, right, { lr: 1e-3 }))).code).toBe('E_DISPOSED')
  })
})
