/** Every stage of a handle's life at which a process, thread or reference may end: each begins its work and gives it back unfinished. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeCall } from '../../ts/addon/native.js'
import { PPO_DEFAULTS } from '../../ts/addon/ppo-trainer.js'
import { fromTokenRows } from '../../ts/addon/rows.js'
import { ScoreBatcher } from '../../ts/addon/score-batcher.js'
import { createPolicy, createScorer, LARGE, longRows, rowsOf, SMALL_BATCH } from './small-models.js'

const SAMPLING = {
  ...{ batchTokens: 512, maxNewTokens: 120, minNewTokens: 120, eosTokenIds: [2], greedy: false },
  ...{ temperature: 1, topK: 0, topP: 1, seed: 3 },
}
const PROMPTS = rowsOf(Array.from({ length: 24 }, (_, row) => 8 + (row % 9)))

async function ppoTrainer() {
  const policy = await createPolicy(LARGE)
  await policy.addValueHead(1)
  const options = { ...PPO_DEFAULTS, miniBatchSize: 8, microBatchTokens: 512 }
  return loadAddon().createPpoTrainer(policy, await policy.clone(), options)
}

/** Begins the work of a stage; it takes some hundred milliseconds from there on, or waits. */
type Stage = (call: NativeCall) => Promise<unknown>

export const STAGES: Record<string, () => Promise<Stage>> = {
  'a model that is being made': async () => () => createScorer(3, LARGE),
  'a model at rest': async () => {
    const model = await createScorer(3)
    return () => model.score(rowsOf([4]), SMALL_BATCH)
  },
  scoring: async () => {
    const model = await createScorer(3, LARGE)
    return (call) => model.score(longRows(), SMALL_BATCH, call)
  },
  'calls that wait': async () => {
    const model = await createScorer(3, LARGE)
    return (call) => Promise.all(Array.from({ length: 20 }, () => model.score(longRows(), SMALL_BATCH, call)))
  },
  'calls of two models': async () => {
    const models = [await createScorer(3, LARGE), await createPolicy(LARGE)]
    return (call) => Promise.all(models.map((model) => model.logprobs?.(longRows(), SMALL_BATCH, call).catch(() => {})))
  },
  'a shared forward': async () => {
    const batcher = new ScoreBatcher(await createScorer(3, LARGE), { maxBatchTokens: 2048 })
    const ids = fromTokenRows(longRows(4))
    return () => Promise.all(Array.from({ length: 20 }, () => batcher.score({ ids })))
  },
  features: async () => {
    const model = await createScorer(3, LARGE)
    return async (call) => (await model.cacheFeatures(longRows(), SMALL_BATCH, call)).toArray()
  },
  generating: async () => {
    const policy = await createPolicy(LARGE)
    return (call) => policy.generate(PROMPTS, SAMPLING, call)
  },
  'a language model step': async () => {
    const trainer = await loadAddon().createLanguageModelTrainer(await createPolicy(LARGE), SMALL_BATCH)
    return (call) => trainer.step(longRows(), { lr: 1e-4 }, call)
  },
  'a reward step': async () => {
    const trainer = await loadAddon().createRewardTrainer(await createScorer(3, LARGE), SMALL_BATCH)
    return (call) => trainer.step(longRows(), longRows(), { lr: 1e-4 }, call)
  },
  'a rollout': async () => {
    const trainer = await ppoTrainer()
    return async (call) => {
      const { responses, klSums } = await trainer.rollout(PROMPTS, SAMPLING, call)
      return { ids: responses.ids, klSums }
    }
  },
  'a PPO step': async () => {
    const trainer = await ppoTrainer()
    const rollout = await trainer.rollout(PROMPTS, { ...SAMPLING, maxNewTokens: 20, minNewTokens: 0 })
    const rows = rollout.responses.lengths.length
    const step = { scores: new Float32Array(rows).fill(1), klWeights: new Float32Array(rows), lr: 1e-4, seed: 1 }
    return (call) => trainer.step(rollout, step, call)
  },
  saving: async () => {
    const model = await createScorer(3, LARGE)
    const folder = mkdtempSync(join(tmpdir(), 'prudent-life-'))
    return (call) => model.save(join(folder, 'model'), {}, call)
  },
  'a call that is being cancelled': async () => {
    const model = await createScorer(3, LARGE)
    return async () => {
      const token = loadAddon().createCancelToken()
      const call = model.score(longRows(), SMALL_BATCH, { token })
      token.cancel()
      await call.catch(() => {})
    }
  },
  disposing: async () => {
    const model = await createScorer(3, LARGE)
    return async (call) => {
      let work: Promise<unknown> = Promise.resolve()
      // From the first micro-batch on it is no longer withdrawn, but awaited.
      await new Promise<void>((resolve) => {
        work = model.score(longRows(), SMALL_BATCH, { ...call, progress: () => resolve() })
      })
      await Promise.all([work, model.dispose()])
    }
  },
  'a handle that is disposed of': async () => {
    const model = await createScorer(3)
    await model.dispose()
    return async () => model.score(rowsOf([4]), SMALL_BATCH).catch(() => {})
  },
}

/** Those that an abort reaches between micro-batches or tokens. An update that has begun, a save and the end of a handle are finished. */
export const CANCELLABLE = [
  ...['scoring', 'calls that wait', 'features', 'generating', 'a language model step', 'a reward step', 'a rollout'],
]
