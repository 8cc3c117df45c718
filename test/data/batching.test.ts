import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { batchByTokens, Epochs, holdOut, packRows, unpackRows } from '../../ts/data/batching.js'
import { Random } from '../../ts/data/random.js'

test('rows laid end to end come back', () => {
  const rows = [Int32Array.of(1, 2), Int32Array.of(3), Int32Array.of(4, 5, 6)]
  const packed = packRows(rows)
  expect([...packed.ids]).toEqual([1, 2, 3, 4, 5, 6])
  expect([...packed.lengths]).toEqual([2, 1, 3])
  expect(unpackRows(packed)).toEqual(rows)
})

test('batches hold every row once, in order, within the budget', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 })), fc.integer({ min: 1, max: 80 }), (lengths, budget) => {
      const batches = batchByTokens(lengths, budget)
      expect(batches.flat()).toEqual(lengths.map((_, row) => row))
      for (const batch of batches) {
        const tokens = batch.reduce((sum, row) => sum + (lengths[row] as number), 0)
        expect(tokens <= budget || batch.length === 1).toBe(true)
      }
    }),
  )
  expect(batchByTokens([5, 5, 5], 10, [2, 0, 1])).toEqual([[2, 0], [1]])
  expect(() => batchByTokens([1], 0)).toThrow(expect.objectContaining({ code: 'E_RANGE' }))
})

describe('holdOut', () => {
  test('is a seeded partition of the wanted size', () => {
    const split = holdOut(100, { random: Random.from(1, 'hold-out'), fraction: 0.2 })
    expect(split.heldOut).toHaveLength(20)
    expect([...split.train, ...split.heldOut].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, row) => row),
    )
    expect(holdOut(100, { random: Random.from(1, 'hold-out'), fraction: 0.2 })).toEqual(split)
    expect(holdOut(100, { random: Random.from(2, 'hold-out'), fraction: 0.2 })).not.toEqual(split)
  })
  test('keeps the rows of a group on one side', () => {
    const groups = Array.from({ length: 60 }, (_, row) => `prompt ${row % 20}`)
    const { train, heldOut } = holdOut(60, { random: Random.from(5), rows: 15, groups })
    const held = new Set([...heldOut].map((row) => groups[row]))
    expect([...train].some((row) => held.has(groups[row]))).toBe(false)
    expect(heldOut).toHaveLength(15)
  })
  test('more rows than there are', () => {
    expect(() => holdOut(3, { random: Random.from(1), rows: 4 })).toThrow(expect.objectContaining({ code: 'E_RANGE' }))
  })
})

describe('Epochs', () => {
  const create = (position?: { epoch: number; batch: number }) =>
    new Epochs({
      count: 10,
      batchSize: 4,
      random: Random.from(3, 'train'),
      ...(position === undefined ? {} : { position }),
    })

  test('each epoch has every row once, in another order', () => {
    const epochs = create()
    const orders = [0, 1].map(() => [0, 1, 2].flatMap(() => [...epochs.next().rows]))
    for (const order of orders) expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(orders[0]).not.toEqual(orders[1])
  })
  test('a saved position goes on exactly there, at epoch ends too', () => {
    const whole = create()
    const batches = Array.from({ length: 9 }, () => ({ position: whole.position, batch: whole.next() }))
    for (const { position, batch } of batches) expect(create(position).next()).toEqual(batch)
  })
  test('dropLast leaves the incomplete batch out', () => {
    const epochs = new Epochs({ count: 10, batchSize: 4, random: Random.from(3), dropLast: true })
    expect(epochs.batchesPerEpoch).toBe(2)
    expect([0, 1, 2].map(() => epochs.next().rows.length)).toEqual([4, 4, 4])
  })
  test('a position of another data set is refused', () => {
    expect(() => create({ epoch: 0, batch: 7 })).toThrow(expect.objectContaining({ code: 'E_STATE' }))
  })
})
