import { callNative } from '../../addon/call.js'
import { mean } from '../../evaluation/describe.js'
import type { PairFeatures } from '../../training/types.js'
import type { UncertaintySource } from '../linear-source.js'

/** What a source says of held-out pairs; columns are its rewards, then those of its spread. */
export interface PairColumns {
  pairs: number
  heads: number
  /** Columns after the heads whose sum of squares is the variance; 0: the variance is that over heads. */
  spread: number
  /** [pairs, heads + spread] row-major, of each side. */
  chosen: Float32Array
  rejected: Float32Array
}

export async function pairColumns(
  source: UncertaintySource,
  features: readonly PairFeatures[],
  signal?: AbortSignal,
): Promise<PairColumns> {
  const { hidden, heads, weights, spread } = source
  const rank = spread?.rank ?? 0
  const matrix = new Float32Array(weights.length + (spread?.factor.length ?? 0))
  matrix.set(weights)
  if (spread !== null) matrix.set(spread.factor, weights.length)
  const columns = heads + rank
  const first = features[0] as PairFeatures
  const rows = first.cache.info().rows
  const values = new Float32Array(rows * columns)
  for (const [layer, { cache }] of features.entries()) {
    const block = new Float32Array(columns * hidden)
    const width = features.length * hidden
    for (let column = 0; column < columns; column++) {
      const at = column * width + layer * hidden
      block.set(matrix.subarray(at, at + hidden), column * hidden)
    }
    const part = await callNative({ signal }, (call) => cache.score(block, columns, call))
    for (const [index, value] of part.entries()) values[index] = (values[index] as number) + value
  }
  const side = (numbers: Int32Array) => {
    const picked = new Float32Array(numbers.length * columns)
    for (const [pair, row] of numbers.entries())
      picked.set(values.subarray(row * columns, (row + 1) * columns), pair * columns)
    return picked
  }
  const pairs = first.chosen.length
  return { pairs, heads, spread: rank, chosen: side(first.chosen), rejected: side(first.rejected) }
}

/** Columns of chosen - rejected. */
export const differences = ({ chosen, rejected }: PairColumns): Float32Array =>
  chosen.map((value, index) => value - (rejected[index] as number))

type Shape = Pick<PairColumns, 'heads' | 'spread'>

/** Mean over heads of every row. */
export function rewards(values: Float32Array, { heads, spread }: Shape): Float64Array {
  const columns = heads + spread
  return Float64Array.from({ length: values.length / columns }, (_, row) =>
    mean(values.subarray(row * columns, row * columns + heads)),
  )
}

/** Standard deviation of every row by the source: over heads (ddof 1), or the root of the spread's sum of squares. */
export function sigmas(values: Float32Array, { heads, spread }: Shape): Float64Array {
  const deviated = deviations(values, { heads, spread })
  const width = spread > 0 ? spread : heads
  const divisor = spread > 0 ? 1 : heads - 1
  return Float64Array.from({ length: deviated.length / width }, (_, row) => {
    let sum = 0
    for (let k = 0; k < width; k++) sum += (deviated[row * width + k] as number) ** 2
    return Math.sqrt(sum / divisor)
  })
}

/** What the variance is the sum of squares of: the spread's columns, or each head's distance from the mean of heads. */
export function deviations(values: Float32Array, { heads, spread }: Shape): Float64Array {
  const columns = heads + spread
  const width = spread > 0 ? spread : heads
  const result = new Float64Array((values.length / columns) * width)
  for (let row = 0; row < values.length / columns; row++) {
    const own = values.subarray(row * columns, (row + 1) * columns)
    const centre = spread > 0 ? 0 : mean(own)
    const first = spread > 0 ? heads : 0
    for (let k = 0; k < width; k++) result[row * width + k] = (own[first + k] as number) - centre
  }
  return result
}

/** Every column less its mean over rows: Bradley-Terry knows scores up to a constant alone. */
export function centredColumns(values: Float32Array, { heads, spread }: Shape): Float32Array {
  const columns = heads + spread
  const rows = values.length / columns
  const means = new Float64Array(columns)
  for (const [index, value] of values.entries())
    means[index % columns] = (means[index % columns] as number) + value / rows
  return values.map((value, index) => value - (means[index % columns] as number))
}

/**
 * How many independent directions the disagreement has: the participation ratio (sum of eigenvalues)^2 / sum of squares of the
 * covariance of the deviations, from the Gram matrix of the first rows. n heads have n - 1 at most.
 */
export function effectiveDirections(deviated: Float64Array, width: number, mostRows = 300): number {
  const rows = Math.min(mostRows, deviated.length / width)
  let [trace, squares] = [0, 0]
  for (let a = 0; a < rows; a++) {
    for (let b = 0; b <= a; b++) {
      let product = 0
      for (let k = 0; k < width; k++)
        product += (deviated[a * width + k] as number) * (deviated[b * width + k] as number)
      if (a === b) trace += product
      squares += (a === b ? 1 : 2) * product ** 2
    }
  }
  return trace ** 2 / squares
}
