/**
 * A service's day in short: for SOAK_SECONDS it makes models, trains them, rolls out, scores, cancels half of the long calls,
 * disposes of some handles and forgets the others. Prints resident memory after every round. Run with --expose-gc.
 */
import { loadAddon } from '../../ts/addon/load.js'
import { PPO_DEFAULTS } from '../../ts/addon/ppo-trainer.js'
import { createPolicy, createScorer, longRows, rejection, rowsOf, SMALL_BATCH } from './small-models.js'

const PPO = { ...PPO_DEFAULTS, ppoEpochs: 2, miniBatchSize: 4, microBatchTokens: 64 }
const collect = globalThis.gc as () => void
const addon = loadAddon()

async function trainAndScore(round: number): Promise<void> {
  const scorer = await createScorer(3, { hidden: 96, positions: 256 })
  const trainer = await addon.createRewardTrainer(scorer, { batchTokens: 256 })
  for (let step = 0; step < 5; step++) await trainer.step(rowsOf([9, 12, 7]), rowsOf([8, 11, 10]), { lr: 1e-4 })
  await scorer.score(rowsOf([5, 6, 7]), SMALL_BATCH)
  const token = addon.createCancelToken()
  const long = scorer.score(longRows(), SMALL_BATCH, { token })
  if (round % 2 === 0) {
    token.cancel()
    const error = await rejection(long)
    if (error.code !== 'E_CANCELLED') throw error
  } else {
    await long
  }
  if (round % 3 === 0) await Promise.all([trainer.dispose(), scorer.dispose()])
}

async function learnByPpo(round: number): Promise<void> {
  const policy = await createPolicy({ hidden: 48 })
  await policy.addValueHead(round)
  const reference = await policy.clone()
  const trainer = await addon.createPpoTrainer(policy, reference, PPO)
  const prompts = rowsOf([3, 4, 5, 6, 3, 4, 5, 6])
  const sampling = {
    batchTokens: 512,
    maxNewTokens: 12,
    eosTokenIds: [2],
    greedy: false,
    temperature: 1,
    topK: 0,
    topP: 1,
  }
  const rollout = await trainer.rollout(prompts, { ...sampling, seed: round })
  const rows = rollout.responses.lengths.length
  const step = {
    scores: new Float32Array(rows).fill(1),
    klWeights: new Float32Array(rows).fill(0.05),
    lr: 1e-4,
    seed: round,
  }
  await trainer.step(rollout, step)
  if (round % 2 === 0) rollout.dispose()
}

const end = Date.now() + Number(process.env.SOAK_SECONDS ?? 120) * 1000
const megabytes: number[] = []
for (let round = 0; Date.now() < end; round++) {
  await trainAndScore(round)
  await learnByPpo(round)
  for (let turn = 0; turn < 4; turn++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  megabytes.push(process.memoryUsage.rss() / 2 ** 20)
}
process.stdout.write(JSON.stringify(megabytes))
