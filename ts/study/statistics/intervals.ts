import type { Random } from '../../data/random.js'
import { quantile, variance } from '../../evaluation/describe.js'
import { normalQuantile } from './distributions.js'

export interface IntervalEstimate {
  estimate: number
  low: number
  high: number
}

export interface BootstrapOptions {
  level: number
  /** Row numbers of every resample; statistics of one comparison share them. */
  draws: readonly Int32Array[]
}

/** `count` draws of all clusters with replacement. */
export function resample(clusters: number, count: number, random: Random): Int32Array[] {
  return Array.from({ length: count }, () => Int32Array.from({ length: clusters }, () => random.integer(clusters)))
}

/** Percentile bootstrap over clusters. Resamples without a finite statistic are left out. */
export function bootstrap(
  clusters: number,
  statistic: (rows: Int32Array) => number,
  options: BootstrapOptions,
): IntervalEstimate {
  const values = options.draws.map(statistic).filter(Number.isFinite)
  const estimate = statistic(Int32Array.from({ length: clusters }, (_, i) => i))
  if (values.length === 0) return { estimate, low: estimate, high: estimate }
  const tail = (1 - options.level) / 2
  const sorted = Float64Array.from(values).sort()
  return { estimate, low: quantile(sorted, tail), high: quantile(sorted, 1 - tail) }
}

/** Variance of treatment by that of baseline, both over the same clusters (heads). */
export function varianceRatio(
  treatment: readonly number[],
  baseline: readonly number[],
  options: BootstrapOptions,
): IntervalEstimate {
  const of = (values: readonly number[], rows: Int32Array) =>
    variance(Float64Array.from(rows, (row) => values[row] as number))
  return bootstrap(treatment.length, (rows) => of(treatment, rows) / of(baseline, rows), options)
}

export function pairedMeanDifference(
  treatment: readonly number[],
  baseline: readonly number[],
  options: BootstrapOptions,
): IntervalEstimate {
  const differences = treatment.map((value, i) => value - (baseline[i] as number))
  const statistic = (rows: Int32Array) => rows.reduce((sum, row) => sum + (differences[row] as number), 0) / rows.length
  return bootstrap(differences.length, statistic, options)
}

/** Relative difference of means, treatment by baseline minus 1; 0 where both are 0. */
export function relativeDifference(
  treatment: readonly number[],
  baseline: readonly number[],
  options: BootstrapOptions,
): IntervalEstimate {
  const sum = (values: readonly number[], rows: Int32Array) =>
    rows.reduce((total, row) => total + (values[row] as number), 0)
  const statistic = (rows: Int32Array) => {
    const [above, below] = [sum(treatment, rows), sum(baseline, rows)]
    return above === below ? 0 : above / below - 1
  }
  return bootstrap(treatment.length, statistic, options)
}

/**
 * Difference of two paired proportions, treatment - baseline: Wald with 1/2 added to each of the four cells (Agresti & Min 2005), which
 * keeps an interval where no pair is discordant. The estimate is the plain difference.
 */
export function pairedRiskDifference(
  treatment: readonly boolean[],
  baseline: readonly boolean[],
  level: number,
): IntervalEstimate {
  const pairs = treatment.length
  const onlyTreatment = treatment.filter((value, i) => value && !baseline[i]).length
  const onlyBaseline = baseline.filter((value, i) => value && !treatment[i]).length
  const [b, c, n] = [onlyTreatment + 0.5, onlyBaseline + 0.5, pairs + 2]
  const centre = (b - c) / n
  const half = (normalQuantile(0.5 + level / 2) * Math.sqrt(b + c - (b - c) ** 2 / n)) / n
  return {
    estimate: (onlyTreatment - onlyBaseline) / pairs,
    low: Math.max(-1, centre - half),
    high: Math.min(1, centre + half),
  }
}
