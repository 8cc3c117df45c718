/** Intervals of simulated quantities. */
import { normalQuantile } from '../study/statistics/distributions.js'
import type { IntervalEstimate } from '../study/statistics/intervals.js'

const LEVEL = 0.95
const Z = normalQuantile(0.5 + LEVEL / 2)

/** A simulated probability with Wilson's score interval. */
export function probability(hits: number, draws: number): IntervalEstimate {
  const p = hits / draws
  const denominator = 1 + (Z * Z) / draws
  const centre = (p + (Z * Z) / (2 * draws)) / denominator
  const half = (Z * Math.sqrt((p * (1 - p)) / draws + (Z * Z) / (4 * draws * draws))) / denominator
  // At no or all hits the score interval ends there; rounding must not end it inside.
  return { estimate: p, low: hits === 0 ? 0 : centre - half, high: hits === draws ? 1 : centre + half }
}

/** Mean and standard deviation with large-sample intervals; that of the deviation by its fourth moment, not by normality. */
export function moments(values: Float64Array): { mean: IntervalEstimate; std: IntervalEstimate } {
  const n = values.length
  let mean = 0
  for (const value of values) mean += value / n
  let [second, fourth] = [0, 0]
  for (const value of values) {
    const square = (value - mean) ** 2
    second += square
    fourth += square * square
  }
  const variance = second / (n - 1)
  const std = Math.sqrt(variance)
  const errorOfMean = std / Math.sqrt(n)
  const errorOfStd = Math.sqrt(Math.max(0, fourth / n - variance * variance) / n) / (2 * std)
  const around = (estimate: number, error: number) => ({
    estimate,
    low: estimate - Z * error,
    high: estimate + Z * error,
  })
  return { mean: around(mean, errorOfMean), std: around(std, errorOfStd) }
}
