import { afterEach, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { configureExecutor, systemInfo } from '../../ts/addon/system.js'
import { createScorer, LARGE, longRows, rejection, rowsOf, SMALL_BATCH } from './small-models.js'

const cores = systemInfo().cpu.cores
afterEach(() => configureExecutor({ lanes: 1, threadsPerLane: cores }))

test('the event loop turns while a call computes', async () => {
  const model = await createScorer(1, LARGE)
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  const start = performance.now()
  await model.score(longRows(), { batchTokens: 1 << 20 })
  const elapsed = performance.now() - start
  clearInterval(timer)
  expect(elapsed).toBeGreaterThan(20)
  expect(ticks).toBeGreaterThan(Math.min(3, elapsed / 50))
  await model.dispose()
})

test('calls of one handle run and settle in their order', async () => {
  const model = await createScorer(1)
  const order: number[] = []
  const sizes = [60, 1, 30, 2, 10, 1]
  await Promise.all(
    sizes.map((size, call) => model.score(rowsOf(new Array(size).fill(20)), SMALL_BATCH).then(() => order.push(call))),
  )
  expect(order).toEqual(sizes.map((_, call) => call))
  await model.dispose()
})

test('a reader waits for the writer before it', async () => {
  const model = await createScorer(1)
  const rows = rowsOf([5])
  const results = [
    model.score(rows, SMALL_BATCH),
    model.setScoreWeight(new Float32Array(24), 1),
    model.score(rows, SMALL_BATCH),
    model.scoreWeight(),
  ]
  const [before, , after, weight] = (await Promise.all(results)) as [
    Float32Array,
    undefined,
    Float32Array,
    Float32Array,
  ]
  expect(before[0]).not.toBe(0)
  expect(Array.from(after)).toEqual([0])
  expect(Array.from(weight)).toEqual(new Array(24).fill(0))
  await model.dispose()
})

test('a full queue is E_BUSY, and empties', async () => {
  const model = await createScorer(1, LARGE)
  const first = model.score(longRows(10), SMALL_BATCH)
  const waiting = Array.from({ length: 300 }, () =>
    model.score(rowsOf([2]), SMALL_BATCH).then(
      () => 'done',
      (error: { code: string }) => error.code,
    ),
  )
  await first
  const results = await Promise.all(waiting)
  const refused = results.filter((result) => result === 'E_BUSY').length
  expect(refused).toBeGreaterThanOrEqual(300 - 256)
  expect(results.filter((result) => result === 'done').length).toBe(300 - refused)
  expect(results.slice(0, 255).every((result) => result === 'done')).toBe(true)
  expect(await model.score(rowsOf([2]), SMALL_BATCH)).toHaveLength(1)
  await model.dispose()
})

describe('configureExecutor', () => {
  test('more lanes give the same numbers and are reported', async () => {
    const [one, two] = [await createScorer(2), await createScorer(2)]
    const expected = await one.score(rowsOf([7, 9]), SMALL_BATCH)
    configureExecutor({ lanes: cores, threadsPerLane: 1 })
    expect(systemInfo().threads).toEqual({ lanes: cores, threadsPerLane: 1 })
    const scores = await Promise.all(
      Array.from({ length: 20 }, (_, call) => (call % 2 ? one : two).score(rowsOf([7, 9]), SMALL_BATCH)),
    )
    for (const score of scores) expect(score).toEqual(expected)
    await Promise.all([one.dispose(), two.dispose()])
  })

  test('handles on different lanes run at the same time', async () => {
    if (cores < 2) return expect(() => configureExecutor({ lanes: 2, threadsPerLane: 1 })).toThrow()
    configureExecutor({ lanes: 2, threadsPerLane: 1 })
    const [slow, quick] = [await createScorer(1, LARGE), await createScorer(1)]
    const order: string[] = []
    await Promise.all([
      slow.score(longRows(), SMALL_BATCH).then(() => order.push('slow')),
      quick.score(rowsOf([3]), SMALL_BATCH).then(() => order.push('quick')),
    ])
    expect(order).toEqual(['quick', 'slow'])
    await Promise.all([slow.dispose(), quick.dispose()])
  })

  test('is E_BUSY while a call runs, fine right after it', async () => {
    const model = await createScorer(1, LARGE)
    const running = model.score(longRows(6), SMALL_BATCH)
    expect(() => configureExecutor({ lanes: 1, threadsPerLane: 1 })).toThrow(
      expect.objectContaining({ code: 'E_BUSY', name: 'PrudentError' }),
    )
    await running
    configureExecutor({ lanes: 1, threadsPerLane: 1 })
    await model.dispose()
  })

  test('deterministic stays as it was set until it is set again', () => {
    const shape = { lanes: 1, threadsPerLane: 1 }
    const before = systemInfo().deterministic
    configureExecutor({ ...shape, deterministic: true })
    configureExecutor(shape)
    expect(systemInfo().deterministic).toBe(true)
    configureExecutor({ ...shape, deterministic: false })
    expect(systemInfo().deterministic).toBe(false)
    configureExecutor({ ...shape, deterministic: before })
  })

  test('numbers that are none', () => {
    const bad = (options: unknown) =>
      expect(() => configureExecutor(options as never)).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^E_(RANGE|TYPE)$/) }),
      )
    for (const lanes of [0, -1, 1.5, Number.NaN, 1e9, '1', undefined]) bad({ lanes, threadsPerLane: 1 })
    bad({ lanes: cores + 1, threadsPerLane: 1 })
    bad({ lanes: cores, threadsPerLane: 2 })
    bad({ lanes: 1, threadsPerLane: 1, threads: 1 })
    bad({ lanes: 1, threadsPerLane: 1, deterministic: 1 })
    bad(undefined)
  })
})

test('one row through a thousand small calls', async () => {
  const addon = loadAddon()
  const args = { chosen: Float32Array.of(1), rejected: Float32Array.of(0), shape: [1, 1] as [number, number] }
  const start = performance.now()
  for (let call = 0; call < 1000; call++) await addon.ops.bradleyTerry(args)
  // Some 30 microseconds on an idle machine; the bound only catches a call that sleeps or polls.
  expect((performance.now() - start) / 1000).toBeLessThan(5)
})

test('rejections in many calls at once', async () => {
  const model = await createScorer(1)
  const errors = await Promise.all(
    Array.from({ length: 50 }, () =>
      rejection(model.score({ ids: Int32Array.of(1000), lengths: Int32Array.of(1) }, SMALL_BATCH)),
    ),
  )
  expect(new Set(errors.map((error) => error.code))).toEqual(new Set(['E_RANGE']))
  await model.dispose()
})
