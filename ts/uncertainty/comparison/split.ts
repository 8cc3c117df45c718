/** Takes sigma apart by where it comes from: heads trained over every start, sample of the pairs and order of the pairs. */
import { callNative } from '../../addon/call.js'
import { correlation, mean, quantile, standardDeviation } from '../../evaluation/describe.js'
import {
  COMPONENTS,
  type ComponentName,
  type Components,
  crossedComponents,
  type GridShape,
  totalOf,
} from '../../evaluation/uncertainty/crossed-anova.js'
import { trainHeads } from '../../training/heads.js'
import type { HeadsSettings } from '../../training/settings.js'
import type { HeadStreams, PairFeatures } from '../../training/types.js'
import type { LayerFeatures } from '../layers.js'
import type { Split } from './config.js'
import { centredColumns, sigmas } from './pair-columns.js'

/** raw: scores as they are; centred: less each head's mean over responses; difference: chosen - rejected. */
export const VIEWS = ['raw', 'centred', 'difference'] as const
export type View = (typeof VIEWS)[number]

export interface ComponentResult {
  /** Mean over responses (pairs), and its share of the sum of all. */
  mean: number
  share: number
  /** Over responses (pairs): estimates of single rows, which may be below 0. */
  low: number
  median: number
  high: number
}

export interface SplitView {
  components: Record<ComponentName, ComponentResult>
  /** Sum of the components: the variance of heads that share nothing. */
  variance: number
  /** Standard deviation over rows of sigma, the root of the sum of a row, relative to its mean. */
  cvOfSigma: number
}

export interface SplitResult {
  shape: GridShape
  heads: number
  steps: number
  seconds: number
  rows: number
  pairs: number
  views: Record<View, SplitView>
  /** Heads of different starts on the same pairs in the same order, before their first step and after the last. */
  start: Record<'raw' | 'difference', { before: number; after: number; ratio: number; correlation: number }>
  /** Mean accuracy of the heads on the held-out pairs. */
  accuracy: number
}

export interface SplitOptions {
  signal: AbortSignal
  progress?: (done: number, total: number) => void
}

export async function splitSigma(
  split: Split,
  training: HeadsSettings,
  { features, heldOut }: LayerFeatures,
  options: SplitOptions,
): Promise<SplitResult> {
  const shape: GridShape = [split.initialisations, split.samples, split.orders]
  const streams = gridStreams(shape)
  const started = performance.now()
  const settings: HeadsSettings = {
    ...training,
    ...{ heads: streams.length, bootstrap: true, order: 'per-head' },
    init: { kind: 'all-new', std: training.init.std },
  }
  const { progress } = options
  const result = await trainHeads({
    features,
    settings,
    streams,
    signal: options.signal,
    ...(progress && { onStep: ({ step }, total) => progress(step, total) }),
  })
  const held = heldOut as PairFeatures
  const [after, before] = [
    await scoresOf(held, result.weights, result.heads),
    await scoresOf(held, result.initial, result.heads),
  ]
  const { heads, steps } = result
  const pairs = held.chosen.length
  return {
    ...{ shape, heads, steps, pairs, rows: 2 * pairs, seconds: (performance.now() - started) / 1000 },
    views: {
      raw: viewOf(after.responses, shape),
      centred: viewOf(centredColumns(after.responses, { heads, spread: 0 }), shape),
      difference: viewOf(after.difference, shape),
    },
    start: {
      raw: startsOf(before.responses, after.responses, shape),
      difference: startsOf(before.difference, after.difference, shape),
    },
    accuracy: after.difference.reduce((sum, value) => sum + (value > 0 ? 1 : 0), 0) / after.difference.length,
  }
}

/** One head a cell, [initialisations, samples, orders] row-major. */
export function gridStreams([initialisations, samples, orders]: GridShape): HeadStreams[] {
  return Array.from({ length: initialisations * samples * orders }, (_, cell) => ({
    init: Math.floor(cell / (samples * orders)),
    sample: Math.floor(cell / orders) % samples,
    order: cell % orders,
  }))
}

/** Of every head: scores of the chosen responses and then the rejected ones, and their differences; heads last. */
async function scoresOf({ cache, chosen, rejected }: PairFeatures, weights: Float32Array, heads: number) {
  const scores = await callNative(undefined, (call) => cache.score(weights, heads, call))
  const row = (at: number) => scores.subarray(at * heads, (at + 1) * heads)
  const responses = new Float32Array(2 * chosen.length * heads)
  const difference = new Float32Array(chosen.length * heads)
  for (const [pair, at] of chosen.entries()) {
    const [own, other] = [row(at), row(rejected[pair] as number)]
    responses.set(own, pair * heads)
    responses.set(other, (chosen.length + pair) * heads)
    difference.set(
      own.map((value, head) => value - (other[head] as number)),
      pair * heads,
    )
  }
  return { responses, difference }
}

/** values [rows, heads]. */
function viewOf(values: Float32Array, shape: GridShape): SplitView {
  const heads = shape[0] * shape[1] * shape[2]
  const rows: Components[] = Array.from({ length: values.length / heads }, (_, row) =>
    crossedComponents(values.subarray(row * heads, (row + 1) * heads), shape),
  )
  const totals = rows.map(totalOf)
  const variance = mean(totals)
  const sigma = totals.map((total) => Math.sqrt(Math.max(0, total)))
  const names = Object.keys(COMPONENTS) as ComponentName[]
  const entries = names.map((name): [ComponentName, ComponentResult] => {
    const own = rows.map((row) => row[name])
    const [low, median, high] = [quantile(own, 0.05), quantile(own, 0.5), quantile(own, 0.95)]
    return [name, { mean: mean(own), share: mean(own) / variance, low, median, high }]
  })
  const components = Object.fromEntries(entries) as Record<ComponentName, ComponentResult>
  return { components, variance, cvOfSigma: standardDeviation(sigma) / mean(sigma) }
}

/** Variance over starts, sample and order being the first of each. */
function startsOf(before: Float32Array, after: Float32Array, [starts, samples, orders]: GridShape) {
  const stride = samples * orders
  const pick = (values: Float32Array) =>
    sigmas(
      values.filter((_, index) => (index % (starts * stride)) % stride === 0),
      { heads: starts, spread: 0 },
    )
  const [first, last] = [pick(before), pick(after)]
  const variance = (sigma: Float64Array) => mean(sigma.map((value) => value ** 2))
  return {
    before: variance(first),
    after: variance(last),
    ratio: variance(first) / variance(last),
    correlation: correlation(first, last),
  }
}
