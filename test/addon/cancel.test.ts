import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { callNative } from '../../ts/addon/call.js'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { ops } from '../../ts/addon/ops.js'
import { PrudentError } from '../../ts/errors.js'
import { createScorer, LARGE, longRows, rejection, rowsOf, SMALL_BATCH } from './small-models.js'

describe('AbortSignal', () => {
  const addon = loadAddon()
  let model: NativeModel
  beforeAll(async () => {
    model = await createScorer(3, LARGE)
  })
  afterAll(() => model.dispose())
  const scoreLong = (signal: AbortSignal, onProgress?: (done: number, total: number) => void) =>
    callNative({ signal, onProgress }, (call) => model.score(longRows(), SMALL_BATCH, call))

  test('already aborted: nothing starts', async () => {
    const reason = new Error('too late')
    const error = await rejection(scoreLong(AbortSignal.abort(reason)))
    expect(error).toBeInstanceOf(PrudentError)
    expect(error).toMatchObject({ name: 'AbortError', code: 'E_CANCELLED', cause: reason })
  })

  test('between micro-batches, and the model is as before', async () => {
    const before = await model.score(rowsOf([20, 3]), SMALL_BATCH)
    const controller = new AbortController()
    const seen: number[] = []
    const error = await rejection(
      scoreLong(controller.signal, (done) => {
        seen.push(done)
        controller.abort('enough')
      }),
    )
    expect(error).toMatchObject({ name: 'AbortError', code: 'E_CANCELLED', cause: 'enough' })
    expect(seen.length).toBeGreaterThan(0)
    expect(Math.max(...seen)).toBeLessThan(40)
    expect(await model.score(rowsOf([20, 3]), SMALL_BATCH)).toEqual(before)
  })

  test('a waiting call ends at once, its neighbours go on', async () => {
    const controller = new AbortController()
    const settled: string[] = []
    const first = model.score(longRows(), SMALL_BATCH).then(() => settled.push('first'))
    const second = rejection(scoreLong(controller.signal)).then((error) => settled.push(error.name))
    const third = model.score(rowsOf([5]), SMALL_BATCH).then(() => settled.push('third'))
    controller.abort()
    await Promise.all([first, second, third])
    expect(settled).toEqual(['AbortError', 'first', 'third'])
  })

  test('one token for several calls', async () => {
    const token = addon.createCancelToken()
    const calls = [1, 2, 3].map(() => rejection(model.score(longRows(), SMALL_BATCH, { token })))
    token.cancel()
    expect((await Promise.all(calls)).map((error) => error.code)).toEqual(['E_CANCELLED', 'E_CANCELLED', 'E_CANCELLED'])
    expect((await rejection(model.score(rowsOf([3]), SMALL_BATCH, { token }))).code).toBe('E_CANCELLED')
  })

  test('after the end an abort changes nothing, and no listener stays', async () => {
    const controller = new AbortController()
    await callNative({ signal: controller.signal }, (call) => model.score(rowsOf([3]), SMALL_BATCH, call))
    controller.abort()
    expect(await model.score(rowsOf([3]), SMALL_BATCH)).toHaveLength(3)
  })

  test('signals of ops', async () => {
    const args = { chosen: Float32Array.of(1), rejected: Float32Array.of(0), shape: [1, 1] as [number, number] }
    expect(
      await rejection(
        ops
          .bradleyTerry(args, { signal: AbortSignal.timeout(0) })
          .then(() => ops.bradleyTerry(args, { signal: AbortSignal.abort() })),
      ),
    ).toMatchObject({ name: 'AbortError' })
  })
})

describe('progress', () => {
  test('counts rows up to all of them', async () => {
    const model = await createScorer(1, LARGE)
    const seen: [number, number][] = []
    await callNative({ onProgress: (done, total) => seen.push([done, total]) }, (call) =>
      model.score(longRows(12), SMALL_BATCH, call),
    )
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.every(([, total]) => total === 12)).toBe(true)
    const counts = seen.map(([done]) => done)
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    await model.dispose()
  })

  test('a listener that throws ends the call with its error', async () => {
    const model = await createScorer(1, LARGE)
    const mine = new Error('mine')
    let calls = 0
    const throwing = () => {
      calls++
      throw mine
    }
    expect(
      await rejection(callNative({ onProgress: throwing }, (call) => model.score(longRows(), SMALL_BATCH, call))),
    ).toBe(mine)
    expect(calls).toBe(1)
    expect(await model.score(rowsOf([4]), SMALL_BATCH)).toHaveLength(1)
    await model.dispose()
  })

  test('call options are checked', async () => {
    const model = await createScorer(1)
    const rows = rowsOf([3])
    const bad = (call: unknown) => rejection(model.score(rows, SMALL_BATCH, call as never))
    expect(await bad({ token: {} })).toMatchObject({ code: 'E_TYPE', argument: 'call.token' })
    expect(await bad({ progress: 3 })).toMatchObject({ code: 'E_TYPE', argument: 'call.progress' })
    expect(await bad({ signal: 3 })).toMatchObject({ code: 'E_TYPE', argument: 'call.signal' })
    expect(await bad(7)).toMatchObject({ code: 'E_TYPE', argument: 'call' })
    await model.dispose()
  })
})

test('native errors carry the JavaScript stack of their use', async () => {
  async function userFunction(): Promise<void> {
    await ops.bradleyTerry({ chosen: new Float32Array(2), rejected: new Float32Array(1), shape: [1, 2] })
  }
  const error = await rejection(userFunction())
  expect(error).toMatchObject({
    name: 'PrudentError',
    code: 'E_SHAPE',
    argument: 'rejected',
    expected: '2 values',
    received: '1',
  })
  expect(error.stack).toContain('userFunction')
})
