/** A worker thread that makes its own model: scores once and says so, or scores for ever until it is terminated. */
import { parentPort, workerData } from 'node:worker_threads'
import { createScorer, LARGE, longRows, rowsOf, SMALL_BATCH } from './small-models.js'

const { mode } = workerData as { mode: 'once' | 'for ever' | 'throw' | 'leave queued' }
const model = await createScorer(2, mode === 'once' ? {} : LARGE)
if (mode === 'once') {
  parentPort?.postMessage(await model.score(rowsOf([7, 9]), SMALL_BATCH))
} else {
  const calls = Array.from({ length: 20 }, () =>
    model.score(longRows(), SMALL_BATCH, { progress: () => parentPort?.postMessage('running') }),
  )
  if (mode === 'throw')
    setTimeout(() => {
      throw new Error('thrown in the worker')
    }, 20)
  if (mode === 'leave queued') setTimeout(() => process.exit(), 20)
  await Promise.all(calls)
}
