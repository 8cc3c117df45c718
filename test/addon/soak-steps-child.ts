/**
 * SOAK_STEPS PPO steps of one small policy, and SOAK_CALLS score calls of another model beside them, several at a time. Prints resident
 * memory in MB, once every hundredth of the steps. Run with --expose-gc.
 */
import { loadAddon } from '../../ts/addon/load.js'
import { PPO_DEFAULTS } from '../../ts/addon/ppo-trainer.js'
import { createPolicy, createScorer, rowsOf, SMALL_BATCH } from './small-models.js'

const STEPS = Number(process.env.SOAK_STEPS ?? 1000)
const CALLS = Number(process.env.SOAK_CALLS ?? 10_000)
const CALLERS = 4
const PPO = { ...PPO_DEFAULTS, ppoEpochs: 2, miniBatchSize: 4, microBatchTokens: 64 }
const SAMPLING = {
  ...{ batchTokens: 512, maxNewTokens: 12, minNewTokens: 0, eosTokenIds: [2] },
  ...{ greedy: false, temperature: 1, topK: 0, topP: 1 },
}
const collect = globalThis.gc as () => void
const megabytes: number[] = []

async function train(): Promise<void> {
  const policy = await createPolicy({ layers: 1 })
  await policy.addValueHead(1)
  const trainer = await loadAddon().createPpoTrainer(policy, await policy.clone(), PPO)
  const prompts = rowsOf([3, 4, 5, 6, 3, 4, 5, 6])
  for (let step = 0; step < STEPS; step++) {
    const rollout = await trainer.rollout(prompts, { ...SAMPLING, seed: step })
    // Shorter is better, so that the policy does change.
    const scores = Float32Array.from(rollout.responses.lengths, (length) => -length)
    const klWeights = new Float32Array(scores.length).fill(0.05)
    await trainer.step(rollout, { scores, klWeights, lr: 1e-5, seed: step })
    // Every other one is left to the collector.
    if (step % 2 === 0) await rollout.dispose()
    if (step % Math.ceil(STEPS / 100) === 0) {
      collect()
      await new Promise((resolve) => setImmediate(resolve))
      megabytes.push(process.memoryUsage.rss() / 2 ** 20)
    }
  }
}

let called = 0
async function score(): Promise<void> {
  const model = await createScorer(3, { layers: 1 })
  const ask = async () => {
    while (called < CALLS) {
      const length = 2 + (called++ % 40)
      const values = await model.score(rowsOf([length, 3]), SMALL_BATCH)
      if (values.length !== 6) throw new Error(`${values.length} scores`)
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, ask))
}

await Promise.all([train(), score()])
process.stdout.write(JSON.stringify(megabytes))
