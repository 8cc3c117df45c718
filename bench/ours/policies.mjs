import { configureExecutor, Policy, PpoTrainer, systemInfo } from '../../dist/ts/index.js'
import { timed } from './timed.mjs'

/** One PPO step of each of several small policies that share a reference: one after another, or all at once on a lane a core. */
export async function load({ folder, prompts, policies, together, newTokens }) {
  if (together) configureExecutor({ lanes: systemInfo().cpu.cores, threadsPerLane: 1 })
  const reference = await Policy.load(folder, { dtype: 'float32' })
  const trainers = []
  for (let index = 0; index < policies; index++) {
    const policy = await reference.clone()
    trainers.push(await PpoTrainer.create(policy, reference, { miniBatchSize: prompts.length }))
  }
  const scores = Float32Array.from(prompts, (_, row) => Math.sin(row))
  const klWeights = new Float32Array(prompts.length).fill(0.05)
  let seed = 0
  const step = async (trainer) => {
    const rollout = await trainer.rollout({ ids: prompts, maxNewTokens: newTokens, eosTokenIds: [], seed })
    await trainer.step(rollout, { scores, klWeights, seed }, { lr: 1e-4 })
    await rollout.dispose()
  }
  const all = async () => {
    seed += 1
    if (together) await Promise.all(trainers.map(step))
    else for (const trainer of trainers) await step(trainer)
  }
  return { held: 0, run: async () => ({ seconds: (await timed(all)).seconds }) }
}
