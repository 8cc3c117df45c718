import { argumentError } from '../errors.js'

/**
 * A source of uncertainty on the features x of a frozen base: mean and sigma of every row. All of ours are linear in x: scores are
 * weights x, and the variance is either that over several heads (ddof 1) or the square |factor x|^2 of a spread. So the rows of both
 * fit one score.weight, and one forward of the model gives everything that an objective needs.
 */
export interface UncertaintySource {
  kind: 'heads' | 'laplace' | 'dropout'
  hidden: number
  heads: number
  /** [heads, hidden], row-major. */
  weights: Float32Array
  /** Variance |factor x|^2, factor [rank, hidden] row-major; null: the sample variance over heads. */
  spread: { rank: number; factor: Float32Array } | null
}

/** Heads that disagree: the paper's, bootstrap heads, anchored ones. */
export function headsSource(weights: Float32Array, heads: number): UncertaintySource {
  if (heads < 2 || weights.length % heads !== 0)
    throw argumentError('E_SHAPE', 'weights', `[heads >= 2, hidden]`, `${weights.length} values for ${heads} heads`)
  return { kind: 'heads', hidden: weights.length / heads, heads, weights, spread: null }
}

/** Dropout of the features at one rate, in the limit of many passes: the variance over masks is rate / (1 - rate) * sum (w_j x_j)^2. */
export function dropoutSource(head: Float32Array, rate: number): UncertaintySource {
  if (!(rate > 0 && rate < 1)) throw argumentError('E_RANGE', 'rate', 'a number in (0, 1)', String(rate))
  const rank = head.length
  const factor = new Float32Array(rank * rank)
  const scale = Math.sqrt(rate / (1 - rate))
  head.forEach((weight, index) => {
    factor[index * rank + index] = scale * weight
  })
  return { kind: 'dropout', hidden: rank, heads: 1, weights: head, spread: { rank, factor } }
}

/** score.weight of a model that gives heads and spread in one forward, [heads + rank, hidden]. */
export function stackedWeight({ weights, spread }: UncertaintySource): Float32Array {
  if (spread === null) return weights
  const stacked = new Float32Array(weights.length + spread.factor.length)
  stacked.set(weights)
  stacked.set(spread.factor, weights.length)
  return stacked
}

/** The outputs of `stackedWeight` that are spread: what a scorer passes on as `spread`. */
export function spreadColumns({ heads, spread }: UncertaintySource): number[] {
  return Array.from({ length: spread?.rank ?? 0 }, (_, index) => heads + index)
}

/** Mean over heads and sigma of rows of features, [rows, hidden] row-major. */
export function measure(
  source: UncertaintySource,
  features: Float32Array,
): { mean: Float64Array; sigma: Float64Array } {
  const { hidden, heads, weights, spread } = source
  if (features.length % hidden !== 0)
    throw argumentError('E_SHAPE', 'features', `[rows, ${hidden}]`, `${features.length} values`)
  const rows = features.length / hidden
  const [mean, sigma] = [new Float64Array(rows), new Float64Array(rows)]
  for (let row = 0; row < rows; row++) {
    const x = features.subarray(row * hidden, (row + 1) * hidden)
    const scores = products(weights, x)
    const centre = scores.reduce((sum, score) => sum + score, 0) / heads
    const variance =
      spread === null
        ? scores.reduce((sum, score) => sum + (score - centre) ** 2, 0) / (heads - 1)
        : products(spread.factor, x).reduce((sum, value) => sum + value ** 2, 0)
    mean[row] = centre
    sigma[row] = Math.sqrt(variance)
  }
  return { mean, sigma }
}

/** matrix x. */
function products(matrix: Float32Array, x: Float32Array): Float64Array {
  return Float64Array.from({ length: matrix.length / x.length }, (_, row) =>
    x.reduce((sum, value, index) => sum + value * (matrix[row * x.length + index] as number), 0),
  )
}
