/** Percentile bootstrap of many statistics at once, over clusters of rows that belong together. */
import { inBlocks } from '../../data/draws.js'
import { Random } from '../../data/random.js'
import { quantile } from '../describe.js'
import { groupRows } from '../reward-bench.js'
import type { Weights } from './weighted.js'

export interface Interval {
  estimate: number
  low: number
  high: number
}

export interface ResamplingOptions {
  draws: number
  seed: number
  level?: number
  signal?: AbortSignal | undefined
}

/**
 * `statistics` sees how often each row stands in the sample: once in the data, and as often as its cluster was drawn in a resample.
 * Resamples where a statistic is not finite are left out of its interval.
 */
export async function intervals<Name extends string>(
  clusters: readonly string[],
  statistics: (weights: Weights) => Record<Name, number>,
  options: ResamplingOptions,
): Promise<Record<Name, Interval>> {
  const members = [...groupRows(clusters).values()]
  const estimates = statistics(new Int32Array(clusters.length).fill(1))
  const random = Random.from(options.seed, 'bootstrap')
  const resampled: Record<Name, number>[] = []
  await inBlocks(options.draws, 1, options.signal, () => {
    resampled.push(statistics(drawWeights(members, clusters.length, random)))
  })
  const tail = (1 - (options.level ?? 0.95)) / 2
  const names = Object.keys(estimates) as Name[]
  const entries = names.map((name): [Name, Interval] => {
    const values = resampled.map((values) => values[name]).filter(Number.isFinite)
    const bound = (q: number) => (values.length === 0 ? Number.NaN : quantile(values, q))
    return [name, { estimate: estimates[name], low: bound(tail), high: bound(1 - tail) }]
  })
  return Object.fromEntries(entries) as Record<Name, Interval>
}

function drawWeights(members: readonly number[][], rows: number, random: Random): Int32Array {
  const weights = new Int32Array(rows)
  for (let draw = 0; draw < members.length; draw += 1) {
    for (const row of members[random.integer(members.length)] as number[]) weights[row] = (weights[row] as number) + 1
  }
  return weights
}
