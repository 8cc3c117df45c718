import { callNative } from '../addon/call.js'
import type { NativeModel, NativeProcessGroup } from '../addon/native.js'
import { packRows } from '../data/batching.js'
import { measurePairs, type PairMeasures } from './pair-scores.js'
import type { PairFeatures, TokenPairs } from './types.js'

export interface CacheOptions {
  batchTokens: number
  sharePrefixes?: boolean
  /** Layers of the base, ascending, 1 for the first, side by side in a row; default: the last alone. */
  layers?: readonly number[]
  signal?: AbortSignal | undefined
  /** Ranks that share the work; each gets all features. */
  group?: NativeProcessGroup | undefined
}

/** Computes the frozen base's last-token features of all pairs once; any number of heads, seeds and epochs train from them. */
export async function cachePairFeatures(
  model: NativeModel,
  pairs: TokenPairs,
  options: CacheOptions,
): Promise<PairFeatures> {
  const rows = packRows([...pairs.chosen, ...pairs.rejected])
  const count = pairs.chosen.length
  const { batchTokens, sharePrefixes = true, layers, group } = options
  const forward = { batchTokens, sharePrefixes, group, ...(layers && { layers: Int32Array.from(layers) }) }
  const cache = await callNative(options, (call) => model.cacheFeatures(rows, forward, call))
  const chosen = Int32Array.from({ length: count }, (_, pair) => pair)
  const places = pairs.places === undefined ? {} : { places: pairs.places }
  return { cache, chosen, rejected: chosen.map((pair) => pair + count), ...places }
}

/** The pairs with the given numbers, of the same cache. */
export function selectPairs(features: PairFeatures, numbers: ArrayLike<number>): PairFeatures {
  const pick = (from: Int32Array) => Int32Array.from(numbers, (number) => from[number] as number)
  return { cache: features.cache, chosen: pick(features.chosen), rejected: pick(features.rejected) }
}

/** Accuracy and loss of heads [heads, hidden] on cached pairs, per head. */
export async function headMeasures(
  features: PairFeatures,
  weights: Float32Array,
  heads: number,
  signal?: AbortSignal,
): Promise<PairMeasures> {
  const scores = await callNative({ signal }, (call) => features.cache.score(weights, heads, call))
  const pick = (rows: Int32Array) => {
    const picked = new Float32Array(rows.length * heads)
    rows.forEach((row, pair) => {
      picked.set(scores.subarray(row * heads, (row + 1) * heads), pair * heads)
    })
    return picked
  }
  return measurePairs(pick(features.chosen), pick(features.rejected), heads)
}
