import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { PPO_DEFAULTS } from '../../ts/addon/ppo-trainer.js'
import { ScoreBatcher, type ScoreBatcherOptions, type ScoringModel } from '../../ts/addon/score-batcher.js'
import { ppoSettings } from '../../ts/policy/settings.js'
import { trainPolicy } from '../../ts/policy/train-policy.js'
import type { PromptSet, Scorer } from '../../ts/policy/types.js'
import { ExactScorer } from '../addon/exact-scorer.js'
import { createScorer } from '../addon/small-models.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { TINY } from '../support/train-runs.js'

const VOCABULARY = 50
const STEPS = 4
const config = JSON.stringify({ ...TINY.gpt2, vocab_size: VOCABULARY, bos_token_id: 0, eos_token_id: 0 })
const prompts: PromptSet = {
  ids: Array.from({ length: 48 }, (_, row) =>
    Int32Array.from({ length: 2 + (row % 4) }, (_, at) => 1 + ((row * 7 + at * 3) % 49)),
  ),
  texts: Array.from({ length: 48 }, (_, row) => `prompt ${row}`),
}
const folder = mkdtempSync(join(tmpdir(), 'prudent-concurrent-'))
let reference: NativeModel
let rewards: NativeModel
beforeAll(async () => {
  loadAddon().configureExecutor({ lanes: 2, threadsPerLane: 1 })
  reference = await loadAddon().createModel(config, { task: 'causal-lm', dtype: 'float32', device: 'cpu', seed: 1 })
  rewards = await createScorer(4, { hidden: 64 })
})
afterAll(async () => {
  await Promise.all([reference.dispose(), rewards.dispose()])
  rmSync(folder, { recursive: true, force: true })
})

/** Scores the policy's tokens as they are. */
function sharedScorer(model: ScoringModel, options: ScoreBatcherOptions): Scorer & { batcher: ScoreBatcher } {
  const batcher = new ScoreBatcher(model, options)
  const over = (target: Pick<ScoreBatcher, 'scoreValues'>): Scorer => ({
    async score(_prompts, responses, signal) {
      const values = await target.scoreValues({ ids: responses }, { signal })
      return { values, heads: values.length / responses.length, texts: [] }
    },
  })
  return {
    ...over(batcher),
    batcher,
    join() {
      const member = batcher.join()
      return { ...over(member), leave: () => member.leave() }
    },
  }
}

let saved = 0
/** The bytes of a policy's weights after training by head `head` of the scorer. */
async function weightsAfter(scorer: Scorer, head: number, signal?: AbortSignal, onStep?: (step: number) => void) {
  const policy = await reference.clone()
  try {
    await policy.addValueHead(5)
    const settings = ppoSettings.parse({
      batchSize: 16,
      miniBatchSize: 8,
      ppoEpochs: 2,
      steps: STEPS,
      optimiser: { lr: 3e-3 },
      sampling: { maxNewTokens: 3 + 2 * head },
      objective: { kind: 'variance-kl' },
      seed: head,
    })
    const common = { policy, reference, scorer, prompts, settings, eosTokenIds: [0], head }
    await trainPolicy({ ...common, ...(signal && { signal }), onStep: ({ step }) => onStep?.(step) })
    const to = join(folder, String(saved++))
    await policy.save(to)
    return readFileSync(join(to, 'model.safetensors'))
  } finally {
    await policy.dispose()
  }
}

const HEADS = [0, 1, 2]
async function aloneAndTogether(model: ScoringModel, options: ScoreBatcherOptions) {
  const alone = await weightsAfter(sharedScorer(model, options), 1)
  const scorer = sharedScorer(model, options)
  // Two of each head: five others beside the one that is compared, which come and go at different times.
  const together = await Promise.all([...HEADS, ...HEADS].map((head) => weightsAfter(scorer, head)))
  return { alone, together, batcher: scorer.batcher }
}

describe('a policy beside others', () => {
  test('given equal scores it ends with the weights it has alone, to the last bit', async () => {
    const { alone, together, batcher } = await aloneAndTogether(new ExactScorer(), { maxWaitMs: 50 })
    expect(together[1]?.equals(alone)).toBe(true)
    expect(together[4]?.equals(alone)).toBe(true)
    expect(together[0]?.equals(alone)).toBe(false)
    // They did share forwards.
    expect(batcher.statistics.forwards).toBeLessThan(6 * STEPS)
    expect(batcher.statistics.requests).toBe(6 * STEPS)
  })

  test('with fixed shapes the whole run is the same to the last bit, scorer included', async () => {
    const { alone, together, batcher } = await aloneAndTogether(rewards, { fixedShapes: true })
    expect(together[1]?.equals(alone)).toBe(true)
    expect(together[4]?.equals(alone)).toBe(true)
    expect(together[0]?.equals(alone)).toBe(false)
    expect(batcher.statistics.forwards).toBe(6 * STEPS)
  })

  test('one that is aborted or fails leaves the others as they are alone', async () => {
    const options = { maxWaitMs: 50 }
    const alone = await weightsAfter(sharedScorer(new ExactScorer(), options), 1)
    const scorer = sharedScorer(new ExactScorer(), options)
    const stop = new AbortController()
    const aborted = weightsAfter(scorer, 0, stop.signal, (step) => step === 2 && stop.abort())
    const failing: Scorer = {
      ...scorer,
      join: () => ({ score: async () => Promise.reject(new Error('no reward')), leave: () => {} }),
    }
    const [survivor, first, second] = await Promise.allSettled([
      weightsAfter(scorer, 1),
      aborted,
      weightsAfter(failing, 2),
    ])
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'E_CANCELLED' } })
    expect(second).toMatchObject({ status: 'rejected', reason: { message: 'no reward' } })
    expect(survivor.status === 'fulfilled' && survivor.value.equals(alone)).toBe(true)
    expect(scorer.batcher.statistics.waiting).toBe(0)
  })
})

describe('scores', () => {
  const rows = Array.from({ length: 96 }, (_, row) =>
    Int32Array.from({ length: 1 + ((row * 37) % 90) }, (_, at) => 3 + ((row * 11 + at * 5) % 90)),
  )
  const requests = Array.from({ length: 24 }, (_, request) => rows.slice(request * 4, request * 4 + 4))
  const ask = (batcher: ScoreBatcher, order: readonly number[]) =>
    Promise.all(order.map((request) => batcher.scoreValues({ ids: requests[request] as Int32Array[] })))
  const inOrder = requests.map((_, request) => request)
  const shuffled = inOrder.map((request) => (request * 7) % 24)

  test('agree whatever they were batched with; one token changed does not', async () => {
    const alone: Float32Array[] = []
    for (const ids of requests) alone.push(await new ScoreBatcher(rewards).scoreValues({ ids }))
    for (const maxBatchTokens of [100, 1000, 8192]) {
      const batcher = new ScoreBatcher(rewards, { maxBatchTokens })
      const values = await ask(batcher, shuffled)
      for (const [at, request] of shuffled.entries()) {
        const [own, reference] = [Array.from(values[at] ?? []), Array.from(alone[request] ?? [])]
        expect(relativeError(own, reference)).toBeLessThan(tolerances.batching)
      }
    }
    const changed = (requests[0] as Int32Array[]).map((ids) => Int32Array.from(ids))
    const last = changed[0] as Int32Array
    last[0] = (last[0] as number) + 1
    const other = await new ScoreBatcher(rewards).scoreValues({ ids: changed })
    expect(relativeError(Array.from(other), Array.from(alone[0] ?? []))).toBeGreaterThan(100 * tolerances.batching)
  })

  test('with fixed shapes they are the same to the last bit in any order', async () => {
    const batcher = new ScoreBatcher(rewards, { fixedShapes: true, maxBatchTokens: 150 })
    const [first, second] = [await ask(batcher, inOrder), await ask(batcher, shuffled)]
    for (const [at, request] of shuffled.entries()) {
      expect(second[at]).toEqual(first[request])
      expect(second[at]).toEqual(await rewards.score(rowsOf(requests[request] as Int32Array[]), { batchTokens: 150 }))
    }
  })
})

const rowsOf = (ids: readonly Int32Array[]) => ({
  ids: Int32Array.from(ids.flatMap((row) => [...row])),
  lengths: Int32Array.from(ids, (row) => row.length),
})

test('trainers share a reference that its owner has let go of', async () => {
  const own = await reference.clone()
  const policies = await Promise.all([0, 1].map(() => own.clone()))
  for (const policy of policies) await policy.addValueHead(1)
  const options = { ...PPO_DEFAULTS, microBatchTokens: 512 }
  const trainers = await Promise.all(policies.map((policy) => loadAddon().createPpoTrainer(policy, own, options)))
  await own.dispose()
  const sampling = { ...SAMPLING, batchTokens: 512 }
  const rollouts = await Promise.all(trainers.map((trainer) => trainer.rollout(rowsOf(prompts.ids), sampling)))
  // The policies are what they were cloned from, and meet one reference: no KL yet.
  for (const rollout of rollouts) expect(Math.max(...rollout.klSums.map(Math.abs))).toBeLessThan(1e-5)
  expect(rollouts[0]?.responses).toEqual(rollouts[1]?.responses)
  await Promise.all([...rollouts, ...trainers, ...policies].map((handle) => handle.dispose()))
})

const SAMPLING = {
  maxNewTokens: 4,
  eosTokenIds: [0],
  greedy: false,
  temperature: 1,
  topK: 0,
  topP: 1,
  seed: 3,
}
