import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { expect, test } from '@jest/globals'
import { createScorer, rowsOf, SMALL_BATCH } from './small-models.js'

const start = (mode: string) => new Worker(new URL('./score-worker.js', import.meta.url), { workerData: { mode } })

async function scoreHere(): Promise<number[]> {
  const model = await createScorer(2)
  const scores = await model.score(rowsOf([7, 9]), SMALL_BATCH)
  await model.dispose()
  return Array.from(scores)
}

test('two workers and the main thread score alike', async () => {
  const workers = [start('once'), start('once')]
  const messages = await Promise.all(workers.map((worker) => once(worker, 'message')))
  const expected = await scoreHere()
  for (const [scores] of messages) expect(Array.from(scores as Float32Array)).toEqual(expected)
})

test('a worker terminated in the middle of a call leaves the others alone', async () => {
  for (let round = 0; round < 3; round++) {
    const worker = start('for ever')
    await once(worker, 'message')
    const scored = scoreHere()
    await worker.terminate()
    expect(await scored).toHaveLength(4)
  }
  // What the terminated workers had in the queue was dropped: a new call comes to its turn.
  expect(await scoreHere()).toHaveLength(4)
})

test('a worker that throws or exits while calls wait', async () => {
  const thrown = start('throw')
  const [error] = (await once(thrown, 'error')) as [Error]
  expect(error.message).toBe('thrown in the worker')
  const [code] = (await once(start('leave queued'), 'exit')) as [number]
  expect(code).toBe(0)
  expect(await scoreHere()).toHaveLength(4)
})

test('a process whose worker threads alone load the addon outlives them', async () => {
  const file = fileURLToPath(new URL('./workers-only-child.js', import.meta.url))
  expect((await promisify(execFile)(process.execPath, [file])).stdout).toBe('alive')
})
