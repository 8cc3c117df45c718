/** Loads the addon in worker threads only and ends them in the middle of calls: Node closes the addon after each. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

const start = (mode: string) => new Worker(new URL('./score-worker.js', import.meta.url), { workerData: { mode } })
for (let round = 0; round < 2; round++) {
  const worker = start('for ever')
  await once(worker, 'message')
  await worker.terminate()
  await once(start('leave queued'), 'exit')
}
// Calls that were running reach their end.
await new Promise((resolve) => setTimeout(resolve, 500))
process.stdout.write('alive')
