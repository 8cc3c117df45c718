/**
 * A handle's whole life, small enough for valgrind: the addon is loaded, models are made, score, train one step and are disposed of; one is
 * forgotten, one is at work when the process ends.
 */
import { loadAddon } from '../../ts/addon/load.js'
import { createScorer, rowsOf, SMALL_BATCH } from './small-models.js'

const rows = rowsOf([3, 5, 2])

async function live(): Promise<Float32Array> {
  const model = await createScorer(3, { layers: 1 })
  const trainer = await loadAddon().createRewardTrainer(model, { batchTokens: 64 })
  await trainer.step(rows, rowsOf([4, 2, 6]), { lr: 1e-3 })
  const scores = await model.score(rows, SMALL_BATCH)
  await Promise.all([trainer.dispose(), model.dispose()])
  return scores
}

async function forget(): Promise<void> {
  await (await createScorer(2, { layers: 1 })).score(rows, SMALL_BATCH)
}

const scores = await live()
if (scores.length !== 9 || !scores.every(Number.isFinite)) throw new Error(`scores ${scores}`)
await forget()
globalThis.gc?.()
const last = await createScorer(2, { layers: 1 })
const calls = Array.from({ length: 4 }, () => last.score(rows, SMALL_BATCH).catch(() => {}))
await calls[0]
process.exit(0)
