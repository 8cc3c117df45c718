import { callNative } from '../addon/call.js'
import type { NativeModel } from '../addon/native.js'
import type { Uncertainty } from '../addon/uncertainty.js'
import { Random } from '../data/random.js'
import { argumentError } from '../errors.js'

/**
 * A source of uncertainty on the last-token features x of a frozen base: mean and sigma of every row. All of ours are linear in x: rewards
 * are weights x, and the variance is either that over several heads (ddof 1) or the square |factor x|^2 of a spread. So one product
 * after one forward of the model gives everything that an objective needs.
 */
export interface UncertaintySource extends Uncertainty {
  /** Of one layer. */
  hidden: number
  heads: number
  /** Heads that read the last layer alone: the first ones, and what score.weight holds. */
  scoreHeads: number
  /** [heads, width] row-major; width is hidden, or layers * hidden where several layers are read. */
  weights: Float32Array
  /** Variance |factor x|^2, factor [rank, width] row-major; null: the sample variance over heads. */
  spread: { rank: number; factor: Float32Array } | null
}

/** Heads that disagree: the paper's, bootstrap heads, anchored ones. */
export function headsSource(
  weights: Float32Array,
  heads: number,
  source: 'heads' | 'bootstrap' | 'anchored-bootstrap' = 'heads',
): UncertaintySource {
  if (heads < 2 || weights.length % heads !== 0)
    throw argumentError('E_SHAPE', 'weights', `[heads >= 2, hidden]`, `${weights.length} values for ${heads} heads`)
  const hidden = weights.length / heads
  return { source, layers: null, fit: {}, hidden, heads, scoreHeads: heads, weights, spread: null }
}

export interface DropoutOptions {
  rate: number
  /** Number of the layer whose features are dropped. */
  layer: number
  /** Fixed masks; absent: the limit of many, whose variance is rate / (1 - rate) * sum (w_j x_j)^2. */
  passes?: number | undefined
  seed?: number
}

/** Dropout of the features under one head. With `passes` masks m the variance is the mean of ((w m / (1 - rate) - w) x)^2 over them. */
export function dropoutSource(
  head: Float32Array,
  { rate, layer, passes, seed = 0 }: DropoutOptions,
): UncertaintySource {
  if (!(rate > 0 && rate < 1)) throw argumentError('E_RANGE', 'rate', 'a number in (0, 1)', String(rate))
  const hidden = head.length
  const rank = passes ?? hidden
  const factor = new Float32Array(rank * hidden)
  if (passes === undefined) {
    const scale = Math.sqrt(rate / (1 - rate))
    for (const [index, weight] of head.entries()) factor[index * hidden + index] = scale * weight
  } else {
    for (let pass = 0; pass < passes; pass++) {
      const random = Random.from(seed, 'dropout', pass)
      for (const [index, weight] of head.entries()) {
        const kept = random.uniform() < rate ? 0 : 1 / (1 - rate)
        factor[pass * hidden + index] = ((kept - 1) * weight) / Math.sqrt(passes)
      }
    }
  }
  const fit = { rate, passes: passes ?? 0 }
  const shape = { hidden, heads: 1, scoreHeads: 1 }
  return { source: 'dropout', layers: [layer], fit, ...shape, weights: head, spread: { rank, factor } }
}

/**
 * Heads from the distribution that a closed form is the variance of, N(w, F'F): draws from Laplace's posterior, heads under Gaussian dropout.
 * Each is a reward that differs from the others as sigma says, and sigma stays what it was.
 */
export function drawHeads(source: UncertaintySource, count: number, seed: number): UncertaintySource {
  const { spread, weights: mean } = source
  if (spread === null || source.heads !== 1)
    throw argumentError('E_CONFIG', 'source', 'one head with a variance in closed form', source.source)
  const width = mean.length
  const weights = new Float32Array(count * width)
  for (let head = 0; head < count; head++) {
    const random = Random.from(seed, 'draw', head)
    const drawn = Float64Array.from(mean)
    for (let row = 0; row < spread.rank; row++) {
      const z = random.normal()
      for (let index = 0; index < width; index++)
        drawn[index] = (drawn[index] as number) + z * (spread.factor[row * width + index] as number)
    }
    weights.set(drawn, head * width)
  }
  return { ...source, heads: count, scoreHeads: count, weights }
}

/** A source with some of its heads, ascending; a variance in closed form stays as it is. */
export function pickHeads(source: UncertaintySource, numbers: readonly number[]): UncertaintySource {
  const width = source.weights.length / source.heads
  const weights = new Float32Array(numbers.length * width)
  for (const [head, number] of numbers.entries())
    weights.set(source.weights.subarray(number * width, (number + 1) * width), head * width)
  const scoreHeads = numbers.filter((number) => number < source.scoreHeads).length
  const fit = { ...source.fit, ...('headsPerLayer' in source.fit && { headsPerLayer: scoreHeads }) }
  return { ...source, fit, heads: numbers.length, scoreHeads, weights }
}

/** Makes a sequence classifier give rewards and sigma of a source in one forward; score.weight holds the rewards of the last layer. */
export async function installSource(model: NativeModel, source: UncertaintySource): Promise<void> {
  const { heads, weights, spread, layers } = source
  await callNative(undefined, () => model.setScoreWeight(lastLayerHeads(source), source.scoreHeads))
  if (layers === null) return
  const readout = new Float32Array(weights.length + (spread?.factor.length ?? 0))
  readout.set(weights)
  if (spread !== null) readout.set(spread.factor, weights.length)
  const shape = { heads, spread: spread?.rank ?? 0, layers: Int32Array.from(layers) }
  await callNative(undefined, () => model.setReadout(readout, shape))
}

/** [scoreHeads, hidden]: the last layer is the last block of columns. */
function lastLayerHeads({ hidden, heads, scoreHeads, weights }: UncertaintySource): Float32Array {
  const width = weights.length / heads
  const rows = new Float32Array(scoreHeads * hidden)
  for (let head = 0; head < scoreHeads; head++)
    rows.set(weights.subarray((head + 1) * width - hidden, (head + 1) * width), head * hidden)
  return rows
}

/** Mean over heads and sigma of rows of features, [rows, width] row-major. */
export function measure(
  source: Pick<UncertaintySource, 'heads' | 'weights' | 'spread'>,
  features: Float32Array,
): { mean: Float64Array; sigma: Float64Array } {
  const { heads, weights, spread } = source
  const width = weights.length / heads
  if (features.length % width !== 0)
    throw argumentError('E_SHAPE', 'features', `[rows, ${width}]`, `${features.length} values`)
  const rows = features.length / width
  const [mean, sigma] = [new Float64Array(rows), new Float64Array(rows)]
  for (let row = 0; row < rows; row++) {
    const x = features.subarray(row * width, (row + 1) * width)
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
