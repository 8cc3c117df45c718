/** The bootstrap: its samples, and that it can be stopped. */
import { expect, test } from '@jest/globals'
import { intervals } from '../../ts/evaluation/uncertainty/resampling.js'
import type { Weights } from '../../ts/evaluation/uncertainty/weighted.js'

const CLUSTERS = ['a', 'a', 'b', 'c']
const sum = (weights: Weights) => {
  let total = 0
  for (let row = 0; row < weights.length; row += 1) total += weights[row] as number
  return { sum: total }
}

test('rows of one cluster come together, and as many clusters as there are', async () => {
  const seen = new Set<string>()
  const { sum: size } = await intervals(
    CLUSTERS,
    (weights) => {
      seen.add(Array.from(weights).join())
      return sum(weights)
    },
    { draws: 200, seed: 1, level: 0.99 },
  )
  expect(size).toEqual({ estimate: 4, low: 3, high: 6 })
  for (const weights of seen) expect(weights.split(',')[0]).toBe(weights.split(',')[1])
})

test('a signal that comes in between ends it', async () => {
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('stopped')), 20)
  let draws = 0
  const count = (weights: Weights) => {
    draws += 1
    return sum(weights)
  }
  const options = { draws: 1e7, seed: 1, signal: stop.signal }
  await expect(intervals(CLUSTERS, count, options)).rejects.toThrow('stopped')
  expect(draws).toBeLessThan(1e6)
})
