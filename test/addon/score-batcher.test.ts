import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ScoreBatcher, type ScoreBatcherOptions } from '../../ts/addon/score-batcher.js'
import { EXACT_HEADS, ExactScorer, exactScores, POISON } from './exact-scorer.js'
import { rejection } from './small-models.js'

/** Nobody waits this long: what ends the wait is something else. */
const FOREVER = { maxWaitMs: 1e6 }

function batcherOf(options: ScoreBatcherOptions = {}) {
  const model = new ExactScorer()
  return { model, batcher: new ScoreBatcher(model, options) }
}

/** Rows of the given lengths; `salt` makes them differ. */
const rowsOf = (lengths: readonly number[], salt = 0) =>
  lengths.map((length, row) => Int32Array.from({ length }, (_, at) => 20 + ((salt * 31 + row * 7 + at * 3) % 79)))
const expected = (ids: readonly Int32Array[]) => Float32Array.from(ids.flatMap(exactScores))
const turn = () => new Promise((resolve) => setTimeout(resolve, 5))

describe('forwards', () => {
  test('requests that come together share one, and each is given its own rows', async () => {
    const { model, batcher } = batcherOf()
    const requests = [rowsOf([3, 1], 1), rowsOf([2], 2), rowsOf([5, 4, 1], 3)]
    const values = await Promise.all(requests.map((ids) => batcher.scoreValues({ ids })))
    expect(values).toEqual(requests.map(expected))
    expect(model.forwards).toEqual([[3, 1, 2, 5, 4, 1]])
    expect(batcher.statistics).toEqual({ forwards: 1, requests: 3, rows: 6, tokens: 16, waiting: 0 })
  })

  test('a row as an object: heads, mean, sigma', async () => {
    const { batcher } = batcherOf()
    const ids = rowsOf([4])
    const [row] = await batcher.score({ ids })
    const scores = exactScores(ids[0] as Int32Array)
    expect(Array.from(row?.scores ?? [])).toEqual(scores)
    expect(row?.mean).toBeCloseTo(scores.reduce((sum, score) => sum + score, 0) / EXACT_HEADS, 6)
    expect(row?.std).toBeGreaterThan(0)
    expect(await batcher.score({ ids: [] })).toEqual([])
  })

  test('none holds more than maxBatchTokens, but for a row that is longer by itself', async () => {
    const { model, batcher } = batcherOf({ maxBatchTokens: 10 })
    const ids = rowsOf([4, 4, 4, 30, 6, 4])
    expect(await batcher.scoreValues({ ids })).toEqual(expected(ids))
    expect(model.forwards).toEqual([[4, 4], [4], [30], [6, 4]])
  })

  test('a long request takes turns with the others', async () => {
    const { model, batcher } = batcherOf({ maxBatchTokens: 10 })
    const order: string[] = []
    const long = batcher.scoreValues({ ids: rowsOf([5, 5, 5, 5, 5, 5]) }).then(() => order.push('long'))
    const short = batcher.scoreValues({ ids: rowsOf([5], 1) }).then(() => order.push('short'))
    await Promise.all([long, short])
    expect(order).toEqual(['short', 'long'])
    expect(model.forwards).toHaveLength(4)
  })

  test('what comes while one runs waits for it and shares the next', async () => {
    const { model, batcher } = batcherOf({ maxWaitMs: 0 })
    const open = model.hold()
    const first = batcher.scoreValues({ ids: rowsOf([2]) })
    await turn()
    const others = [1, 2, 3].map((salt) => batcher.scoreValues({ ids: rowsOf([2], salt) }))
    await turn()
    expect(model.forwards).toEqual([[2]])
    open()
    await Promise.all([first, ...others])
    expect(model.forwards).toEqual([[2], [2, 2, 2]])
  })

  test('with fixed shapes each is cut from one request, as if it were alone', async () => {
    const { model, batcher } = batcherOf({ maxBatchTokens: 10, fixedShapes: true, ...FOREVER })
    const requests = [rowsOf([4, 4, 4], 1), rowsOf([2], 2), rowsOf([9, 3], 3)]
    const values = await Promise.all(requests.map((ids) => batcher.scoreValues({ ids })))
    expect(values).toEqual(requests.map(expected))
    expect(model.forwards).toEqual([[4, 4], [2], [9], [4], [3]])
  })
})

describe('the wait', () => {
  test('ends when enough tokens wait', async () => {
    const { model, batcher } = batcherOf({ maxBatchTokens: 6, ...FOREVER })
    const first = batcher.scoreValues({ ids: rowsOf([3]) })
    await turn()
    expect(model.forwards).toEqual([])
    await Promise.all([first, batcher.scoreValues({ ids: rowsOf([3], 1) })])
    expect(model.forwards).toEqual([[3, 3]])
  })

  test('ends when every member has asked, and when the one that has not leaves', async () => {
    const { model, batcher } = batcherOf(FOREVER)
    const [one, two, three] = [batcher.join(), batcher.join(), batcher.join()]
    const asked = [one.scoreValues({ ids: rowsOf([1]) }), two.scoreValues({ ids: rowsOf([2]) })]
    await turn()
    expect(model.forwards).toEqual([])
    asked.push(three.scoreValues({ ids: rowsOf([3]) }))
    await Promise.all(asked)
    expect(model.forwards).toEqual([[1, 2, 3]])
    const again = [one.scoreValues({ ids: rowsOf([1]) }), three.scoreValues({ ids: rowsOf([3]) })]
    await turn()
    expect(model.forwards).toHaveLength(1)
    two.leave()
    two.leave()
    await Promise.all(again)
    expect(model.forwards).toEqual([
      [1, 2, 3],
      [1, 3],
    ])
  })

  test('is bounded for who is alone', async () => {
    const { batcher } = batcherOf({ maxWaitMs: 1 })
    batcher.join()
    const ids = rowsOf([2, 3])
    expect(await batcher.scoreValues({ ids })).toEqual(expected(ids))
  })
})

describe('what concerns one request concerns no other', () => {
  test('wrong ids, before it waits', async () => {
    const { model, batcher } = batcherOf()
    const good = batcher.scoreValues({ ids: rowsOf([2]) })
    const bad = (ids: readonly ArrayLike<number>[]) => rejection(batcher.score({ ids }))
    expect(await bad([[1], [2, 100]])).toMatchObject({ code: 'E_RANGE', argument: 'ids[1][1]' })
    expect(await bad([[-1]])).toMatchObject({ code: 'E_RANGE', argument: 'ids[0][0]' })
    expect(await bad([[]])).toMatchObject({ code: 'E_SHAPE', argument: 'ids[0]' })
    expect(await bad([new Array(41).fill(1)])).toMatchObject({ code: 'E_TOO_LONG', argument: 'ids[0]' })
    expect(await good).toHaveLength(EXACT_HEADS)
    expect(model.forwards).toEqual([[2]])
  })

  test('a forward that fails because of it', async () => {
    const { batcher } = batcherOf()
    const requests = [rowsOf([3], 1), [Int32Array.of(20, POISON)], rowsOf([2, 2], 2)]
    const results = await Promise.allSettled(requests.map((ids) => batcher.scoreValues({ ids })))
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: { code: 'E_NON_FINITE' } })
    expect(results[2]).toMatchObject({ value: expected(requests[2] as Int32Array[]) })
    expect(await batcher.scoreValues({ ids: rowsOf([1]) })).toHaveLength(EXACT_HEADS)
  })

  test('an abort, while it waits or while its forward runs', async () => {
    const { model, batcher } = batcherOf({ maxBatchTokens: 4, maxWaitMs: 0 })
    const open = model.hold()
    const stops = [new AbortController(), new AbortController()]
    const ask = (salt: number, stop?: AbortController) =>
      batcher.scoreValues({ ids: rowsOf([2], salt) }, { signal: stop?.signal })
    const [running, beside, waiting, behind] = [ask(1, stops[0]), ask(2), ask(3, stops[1]), ask(4)]
    await turn()
    const reason = new Error('not needed any more')
    for (const stop of stops) stop.abort(reason)
    for (const aborted of [running, waiting])
      expect(await rejection(aborted)).toMatchObject({ code: 'E_CANCELLED', name: 'AbortError', cause: reason })
    open()
    expect(await beside).toEqual(expected(rowsOf([2], 2)))
    expect(await behind).toEqual(expected(rowsOf([2], 4)))
    expect(model.forwards).toEqual([[2, 2], [2]])
    expect((await rejection(ask(5, stops[0]))).code).toBe('E_CANCELLED')
  })

  test('a deadline', async () => {
    const { model, batcher } = batcherOf({ maxWaitMs: 0 })
    const open = model.hold()
    const late = batcher.scoreValues({ ids: rowsOf([2], 1) }, { timeoutMs: 1 })
    const patient = batcher.scoreValues({ ids: rowsOf([2], 2) }, { timeoutMs: 1e6 })
    expect(await rejection(late)).toMatchObject({ code: 'E_TIMEOUT' })
    open()
    expect(await patient).toEqual(expected(rowsOf([2], 2)))
    expect((await rejection(batcher.scoreValues({ ids: rowsOf([2]) }, { timeoutMs: -1 }))).code).toBe('E_RANGE')
  })

  test('a deadline or wait beyond what timers hold does not end at once', async () => {
    const { model, batcher } = batcherOf({ maxWaitMs: Number.POSITIVE_INFINITY })
    const asked = [2 ** 40, Number.POSITIVE_INFINITY].map((timeoutMs) =>
      batcher.scoreValues({ ids: rowsOf([2]) }, { timeoutMs }),
    )
    await turn()
    expect([model.forwards, batcher.statistics.waiting]).toEqual([[], 2])
    await batcher.dispose()
    for (const each of asked) expect((await rejection(each)).code).toBe('E_CANCELLED')
  })

  test('a deadline shorter than the wait leaves time to compute', async () => {
    const { batcher } = batcherOf(FOREVER)
    expect(await batcher.scoreValues({ ids: rowsOf([2]) }, { timeoutMs: 200 })).toHaveLength(EXACT_HEADS)
  })
})

describe('bounds', () => {
  test('requests and tokens that wait; a long request is taken when nothing waits', async () => {
    const { model, batcher } = batcherOf({ maxWaitMs: 0, maxWaitingRequests: 2, maxWaitingTokens: 6 })
    const open = model.hold()
    const ask = (lengths: number[]) => batcher.scoreValues({ ids: rowsOf(lengths) })
    const accepted = [ask([9])]
    await turn()
    accepted.push(ask([5, 5]))
    expect(await rejection(ask([1]))).toMatchObject({ code: 'E_BUSY', received: '11' })
    open()
    await Promise.all(accepted)
    const reopen = model.hold()
    const more = [ask([1])]
    await turn()
    more.push(ask([1]), ask([1]))
    expect(await rejection(ask([1]))).toMatchObject({ code: 'E_BUSY', received: '3' })
    reopen()
    await Promise.all(more)
    expect(await ask([1])).toHaveLength(EXACT_HEADS)
  })

  test.each([{ maxBatchTokens: 0 }, { maxWaitMs: -1 }, { maxWaitingRequests: 0 }, { maxWaitingTokens: Number.NaN }])(
    '%j is no setting',
    (options) => {
      expect(() => batcherOf(options)).toThrow(
        expect.objectContaining({ code: 'E_RANGE', argument: Object.keys(options)[0] }),
      )
    },
  )
})

test('dispose cancels what waits, awaits what runs, and refuses what comes', async () => {
  const { model, batcher } = batcherOf({ maxBatchTokens: 4, maxWaitMs: 0 })
  const open = model.hold()
  const running = batcher.scoreValues({ ids: rowsOf([4]) })
  const waiting = rejection(batcher.scoreValues({ ids: rowsOf([4], 1) }))
  await turn()
  let over = false
  const disposed = batcher.dispose().then(() => {
    over = true
  })
  expect((await waiting).code).toBe('E_CANCELLED')
  expect((await rejection(batcher.scoreValues({ ids: rowsOf([1]) }))).code).toBe('E_DISPOSED')
  expect(over).toBe(false)
  open()
  expect(await running).toEqual(expected(rowsOf([4])))
  await disposed
  await batcher.dispose()
  expect(model.forwards).toHaveLength(1)
})

test('whatever is asked, aborted or poisoned: every request ends, with its own scores or its own error', async () => {
  const request = fc.record({
    lengths: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 }),
    member: fc.boolean(),
    fate: fc.constantFrom('scored', 'scored', 'scored', 'aborted', 'poisoned'),
    pause: fc.boolean(),
  })
  const settings = fc.record({
    maxBatchTokens: fc.integer({ min: 1, max: 40 }),
    maxWaitMs: fc.constantFrom(0, 1),
    fixedShapes: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(settings, fc.array(request, { minLength: 1, maxLength: 12 }), async (options, requests) => {
      const { model, batcher } = batcherOf(options)
      const member = batcher.join()
      const outcomes: Promise<unknown>[] = []
      for (const [salt, { lengths, member: asMember, fate, pause }] of requests.entries()) {
        const ids = rowsOf(lengths, salt)
        if (fate === 'poisoned') (ids[0] as Int32Array)[0] = POISON
        const stop = new AbortController()
        const scored = (asMember ? member : batcher).scoreValues({ ids }, { signal: stop.signal })
        const error = expect.objectContaining({ code: fate === 'aborted' ? 'E_CANCELLED' : 'E_NON_FINITE' })
        // An abort may come too late.
        const possible = { scored: [expected(ids)], aborted: [expected(ids), error], poisoned: [error] }[fate]
        outcomes.push(scored.catch((reason) => reason).then((outcome) => expect(possible).toContainEqual(outcome)))
        if (pause) await new Promise(setImmediate)
        if (fate === 'aborted') stop.abort()
      }
      await Promise.all(outcomes)
      for (const lengths of model.forwards) {
        const tokens = lengths.reduce((sum, length) => sum + length, 0)
        expect(tokens <= options.maxBatchTokens || lengths.length === 1).toBe(true)
      }
      expect(batcher.statistics.waiting).toBe(0)
    }),
    { numRuns: 200 },
  )
})
