import { expect, test } from '@jest/globals'
import { HeadOrder } from '../../ts/training/head-order.js'
import { anchorStrength, initialHeads, PAPER_HEADS } from '../../ts/training/heads.js'
import { measurePairs } from '../../ts/training/pair-scores.js'
import { PAPER_REWARD } from '../../ts/training/reward.js'
import { headsSettings, rewardSettings } from '../../ts/training/settings.js'

const base = { batchSize: 4, optimiser: { lr: 1e-3 }, heads: 3, seed: 5 }

test('new heads: seeded, independent of their number, of the asked spread', () => {
  const settings = headsSettings.parse({ ...base, heads: 4, init: { std: 0.5 } })
  const weights = initialHeads(settings, 2000)
  expect(weights).toEqual(initialHeads(settings, 2000))
  expect(initialHeads({ ...settings, heads: 2 }, 2000)).toEqual(weights.slice(0, 4000))
  expect(initialHeads({ ...settings, seed: 6 }, 2000)).not.toEqual(weights)
  for (let head = 0; head < 4; head++) {
    const own = weights.subarray(head * 2000, (head + 1) * 2000)
    const std = Math.sqrt(own.reduce((sum, value) => sum + value ** 2, 0) / 2000)
    expect(Math.abs(std / 0.5 - 1)).toBeLessThan(0.06)
    expect(own).not.toEqual(weights.subarray(0, head === 0 ? 1 : 2000))
  }
})

test('keep-first puts the trained head first and changes no other', () => {
  const settings = headsSettings.parse({ ...base, init: { kind: 'keep-first' } })
  const trained = Float32Array.of(1, 2, 3)
  const weights = initialHeads(settings, 3, trained)
  expect(weights.slice(0, 3)).toEqual(trained)
  expect(weights.slice(3)).toEqual(initialHeads(headsSettings.parse(base), 3).slice(3))
  expect(() => initialHeads(settings, 3)).toThrow('firstHead')
  expect(() => initialHeads(settings, 4, trained)).toThrow('firstHead')
})

test('the anchor is 1 / (pairs * s^2)', () => {
  expect(anchorStrength(headsSettings.parse({ ...base, init: { std: 0.5 } }), 100)).toBeCloseTo(1 / 25, 12)
  expect(() => anchorStrength(headsSettings.parse({ ...base, init: { std: 0 } }), 100)).toThrow('init.std')
})

function epoch(order: HeadOrder, heads: number): number[][] {
  const seen = Array.from({ length: heads }, () => [] as number[])
  for (let batch = 0; batch < order.batchesPerEpoch; batch++) {
    const { pairs, perHead } = order.next()
    const size = perHead ? pairs.length / heads : pairs.length
    for (const [head, own] of seen.entries()) {
      own.push(...pairs.subarray(perHead ? head * size : 0, perHead ? (head + 1) * size : size))
    }
  }
  return seen
}
const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
const all = Array.from({ length: 10 }, (_, pair) => pair)

test('shared order: one permutation for all heads, a new one each epoch', () => {
  const order = new HeadOrder(10, headsSettings.parse(base))
  const [first, second] = [epoch(order, 3), epoch(order, 3)]
  expect(sorted(first[0] as number[])).toEqual(all)
  expect(first[1]).toEqual(first[0])
  expect(second[0]).not.toEqual(first[0])
})

test('per-head order: each head sees every pair once, in an order of its own', () => {
  const seen = epoch(new HeadOrder(10, headsSettings.parse({ ...base, order: 'per-head' })), 3)
  for (const own of seen) expect(sorted(own)).toEqual(all)
  expect(new Set(seen.map(String)).size).toBe(3)
})

test('bootstrap: each head has its own sample, the same in every epoch', () => {
  const settings = headsSettings.parse({ ...base, bootstrap: true, heads: 40 })
  const order = new HeadOrder(10, settings)
  const [first, second] = [epoch(order, 40), epoch(order, 40)]
  for (const [head, own] of first.entries()) expect(sorted(own)).toEqual(sorted(second[head] as number[]))
  expect(new Set(first.map((own) => String(sorted(own)))).size).toBe(40)
  // A pair is left out of a sample of n by (1 - 1/n)^n = 0.349 for n = 10.
  const distinct = first.reduce((sum, own) => sum + new Set(own).size, 0) / 400
  expect(Math.abs(distinct - 0.651)).toBeLessThan(0.05)
})

test('a saved position goes on with the same pairs', () => {
  const settings = headsSettings.parse({ ...base, bootstrap: true, order: 'per-head' })
  const order = new HeadOrder(10, settings)
  for (let batch = 0; batch < 4; batch++) order.next()
  const resumed = new HeadOrder(10, settings, JSON.parse(JSON.stringify(order.position)))
  for (let batch = 0; batch < 5; batch++) expect(resumed.next()).toEqual(order.next())
})

test('pairs: strictly greater counts, a tie does not; the loss is -ln sigmoid of the margin', () => {
  const chosen = Float32Array.of(1, 0, 2, 0, 500, -500)
  const rejected = Float32Array.of(0, 0, 3, -1, -500, 500)
  const { accuracy, loss } = measurePairs(chosen, rejected, 2)
  expect(Array.from(accuracy)).toEqual([Math.fround(2 / 3), Math.fround(1 / 3)])
  expect(loss[0]).toBeCloseTo((Math.log1p(Math.exp(-1)) + Math.log1p(Math.exp(1)) + 0) / 3, 6)
  expect(loss[1]).toBeCloseTo((Math.log(2) + Math.log1p(Math.exp(-1)) + 1000) / 3, 4)
})

test("the paper's tables 2 and 4", () => {
  const reward = rewardSettings.parse(PAPER_REWARD)
  expect(reward).toMatchObject({
    batchSize: 32,
    epochs: 1,
    stopAt: { loss: 0.3 },
    schedule: { shape: 'cosine', warmupRatio: 0.03 },
  })
  expect(reward.optimiser).toMatchObject({
    lr: 1e-5,
    weightDecay: 0.001,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    maxGradNorm: 1,
  })
  const heads = headsSettings.parse(PAPER_HEADS)
  expect(heads).toMatchObject({
    heads: 10,
    epochs: 0.5,
    batchSize: 32,
    init: { kind: 'keep-first', std: 0.02 },
    stopAt: { loss: 0.2 },
  })
  expect(heads.optimiser).toEqual(reward.optimiser)
})

test('streams: heads of one stream share start, sample or order, and nothing else', () => {
  const settings = headsSettings.parse({ ...base, heads: 3, order: 'per-head', bootstrap: true })
  const streams = [
    { init: 0, sample: 0, order: 0 },
    { init: 0, sample: 1, order: 0 },
    { init: 1, sample: 0, order: 1 },
  ]
  const weights = initialHeads(settings, 4, undefined, streams)
  const head = (at: number) => weights.slice(4 * at, 4 * at + 4)
  expect(head(0)).toEqual(head(1))
  expect(head(0)).not.toEqual(head(2))
  const [first, sampledOtherwise, orderedOtherwise] = epoch(new HeadOrder(10, settings, undefined, streams), 3)
  expect(sampledOtherwise).not.toEqual(first)
  expect(orderedOtherwise).not.toEqual(first)
  // One sample in two orders holds the same pairs as often.
  expect(sorted(orderedOtherwise as number[])).toEqual(sorted(first as number[]))
  expect(sorted(sampledOtherwise as number[])).not.toEqual(sorted(first as number[]))
  // Heads' own streams are the default.
  const own = new HeadOrder(
    10,
    settings,
    undefined,
    [0, 1, 2].map((at) => ({ init: at, sample: at, order: at })),
  )
  expect(epoch(own, 3)).toEqual(epoch(new HeadOrder(10, settings), 3))
})
