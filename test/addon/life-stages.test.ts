import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, jest, test } from '@jest/globals'
import { callNative } from '../../ts/addon/call.js'
import { CANCELLABLE, STAGES } from './life-stages.js'
import { createScorer, rowsOf, SMALL_BATCH } from './small-models.js'

jest.setTimeout(60_000)

const CHILD = new URL('./life-child.js', import.meta.url)
const STAGE_NAMES = Object.keys(STAGES)

async function end(parameters: string[], node: string[] = []) {
  const child = spawn(process.execPath, [...node, fileURLToPath(CHILD), ...parameters])
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, stderr }
}

describe('a process that ends', () => {
  test.each(STAGE_NAMES)('by process.exit at: %s', async (stage) => {
    expect(await end([stage, 'exit'])).toEqual({ code: 7, signal: null, stderr: '' })
  })

  test.each(['scoring', 'generating', 'a PPO step', 'saving'])(
    'by an uncaught error or a signal at: %s',
    async (stage) => {
      const thrown = await end([stage, 'throw'])
      expect([thrown.code, thrown.signal]).toEqual([1, null])
      expect(thrown.stderr).toContain('Error: uncaught')
      expect(await end([stage, 'signal'])).toEqual({ code: null, signal: 'SIGTERM', stderr: '' })
    },
  )

  test.each(['scoring', 'a language model step', 'a reward step'])(
    'by process.exit of a main thread that has not loaded the addon, a worker thread being at: %s',
    async (stage) => {
      expect(await end([stage, 'beside'])).toEqual({ code: 7, signal: null, stderr: '' })
    },
  )

  test('by itself, after the garbage collector has taken the handles of every stage at work', async () => {
    expect(await end(['all', 'collect'], ['--expose-gc'])).toEqual({ code: 7, signal: null, stderr: '' })
  })

  test('the checks see a crash', async () => {
    expect(await end(['no such stage', 'exit'])).toMatchObject({ code: 1, stderr: expect.stringContaining('no stage') })
  })
})

test('worker threads terminated at every stage, two at a time, leave this thread’s calls alone', async () => {
  const model = await createScorer(2)
  const expected = await model.score(rowsOf([7, 9]), SMALL_BATCH)
  const terminate = async (stage: string) => {
    const worker = new Worker(CHILD, { workerData: stage })
    await once(worker, 'message')
    await worker.terminate()
  }
  for (let at = 0; at < STAGE_NAMES.length; at += 2) {
    const ended = STAGE_NAMES.slice(at, at + 2).map(terminate)
    expect(await model.score(rowsOf([7, 9]), SMALL_BATCH)).toEqual(expected)
    await Promise.all(ended)
  }
  expect(await model.score(rowsOf([7, 9]), SMALL_BATCH)).toEqual(expected)
  await model.dispose()
})

describe('a cancelled call', () => {
  test.each(CANCELLABLE)(
    'rejects with E_CANCELLED, and the same call gives afterwards what it would have given: %s',
    async (name) => {
      const prepare = STAGES[name] as (typeof STAGES)[string]
      const reason = new Error('enough')
      const { stage, error } = await abortedAtWork(prepare, reason)
      expect(error).toMatchObject({ name: 'AbortError', code: 'E_CANCELLED', cause: reason })
      const fresh = await prepare()
      expect(numbersOf(await stage({}))).toEqual(numbersOf(await fresh({})))
    },
  )
})

/** Aborts a call some milliseconds after it has begun; a machine that has answered by then is asked anew, with less time. */
async function abortedAtWork(prepare: (typeof STAGES)[string], reason: Error) {
  for (const delay of [5, 2, 1, 0]) {
    const stage = await prepare()
    const stop = new AbortController()
    const work = callNative({ signal: stop.signal }, stage)
    if (delay > 0) setTimeout(() => stop.abort(reason), delay)
    else stop.abort(reason)
    const error = await work.then(
      () => undefined,
      (rejected: unknown) => rejected,
    )
    if (error !== undefined) return { stage, error }
  }
  throw new Error('an aborted call was answered')
}

/** What can be compared of a result: a handle by its plain fields. */
function numbersOf(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}
