/** Descriptive statistics; variances are sample variances (ddof 1) unless said otherwise. */

export function mean(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i += 1) sum += values[i] as number
  return sum / values.length
}

/** NaN for fewer values than ddof + 1. */
export function variance(values: ArrayLike<number>, ddof = 1): number {
  if (values.length <= ddof) return Number.NaN
  const centre = mean(values)
  let sum = 0
  for (let i = 0; i < values.length; i += 1) sum += ((values[i] as number) - centre) ** 2
  return sum / (values.length - ddof)
}

export const standardDeviation = (values: ArrayLike<number>, ddof = 1): number => Math.sqrt(variance(values, ddof))

/** Linear interpolation between order statistics, as numpy.quantile does by default. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort()
  const place = q * (sorted.length - 1)
  const below = Math.floor(place)
  const low = sorted[below] as number
  const high = sorted[Math.min(below + 1, sorted.length - 1)] as number
  return low + (place - below) * (high - low)
}

export const median = (values: ArrayLike<number>): number => quantile(values, 0.5)

/** Pearson; NaN when either side does not vary. */
export function correlation(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const [meanX, meanY] = [mean(x), mean(y)]
  let [xy, xx, yy] = [0, 0, 0]
  for (let i = 0; i < x.length; i += 1) {
    const [dx, dy] = [(x[i] as number) - meanX, (y[i] as number) - meanY]
    xy += dx * dy
    xx += dx * dx
    yy += dy * dy
  }
  return xy / Math.sqrt(xx * yy)
}

export interface HistogramData {
  /** One more than counts. */
  edges: number[]
  counts: number[]
  mean: number
  median: number
  min: number
  max: number
}

/** Equal bins over [min, max]; the last bin holds its upper edge. */
export function histogram(values: ArrayLike<number>, bins = 24): HistogramData {
  const low = quantile(values, 0)
  const high = quantile(values, 1)
  const width = high > low ? (high - low) / bins : 1 / bins
  const counts = new Array<number>(bins).fill(0)
  for (let i = 0; i < values.length; i += 1) {
    const bin = Math.min(bins - 1, Math.floor(((values[i] as number) - low) / width))
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  const edges = Array.from({ length: bins + 1 }, (_, bin) => low + bin * width)
  return { edges, counts, mean: mean(values), median: median(values), min: low, max: high }
}
