/**
 * Figures 3 to 5 and theorem 3.3: returns of the variance-unaware policy (definition 3.1) and the variance-aware one (definition 3.2)
 * over draws of the estimate Rhat ~ N(r*, Sigma), Sigma diagonal.
 */

import { inBlocks } from '../data/draws.js'
import { normalCdf } from '../study/statistics/distributions.js'
import type { IntervalEstimate } from '../study/statistics/intervals.js'
import { moments, probability } from './estimates.js'
import { Normals } from './normals.js'

export interface ReturnSetting {
  name: string
  /** Range of the estimates' variances, evenly spaced, both ends included. */
  variances: readonly [number, number]
  /** What the unaware policy's standard deviation is set to by the choice of epsilon. */
  targetStd: number
}

/**
 * The paper gives neither r* nor epsilon. Equal means need an r* that is nearly flat and a step that sums to zero; the standard
 * deviations then fix epsilon. Low variability prints as 0.14 and 0.12 only where the first lies in [0.135, 0.137].
 */
export const PAPER_SETTINGS: readonly ReturnSetting[] = [
  { name: 'high variability', variances: [3, 100], targetStd: 0.13 },
  { name: 'low variability', variances: [70, 100], targetStd: 0.136 },
]
const MEAN_REWARD = 4.643
/** Length of r* less its mean. */
const REWARD_LENGTH = 0.1
/** Theorem 3.3 is checked at these lengths of an r* in a random direction, in standard errors of the unaware policy. */
const SIGNAL = [0.1, 0.25, 0.5, 1, 2]

export interface Underperformance {
  signal: number
  unaware: IntervalEstimate & { closedForm: number }
  aware: IntervalEstimate & { closedForm: number }
}

export interface ReturnResult {
  name: string
  variances: readonly [number, number]
  dimension: number
  draws: number
  epsilon: number
  meanUnaware: number
  meanAware: number
  stdUnaware: number
  stdAware: number
  intervals: {
    meanUnaware: IntervalEstimate
    meanAware: IntervalEstimate
    stdUnaware: IntervalEstimate
    stdAware: IntervalEstimate
  }
  /** Share of draws in which the return is below the reference's, at the figures' own r*. */
  belowReference: { unaware: IntervalEstimate; aware: IntervalEstimate }
  underperformance: Underperformance[]
  histogram: { policy: 'unaware' | 'aware'; from: number; to: number; count: number }[]
}

export interface SimulationOptions {
  dimension: number
  draws: number
  seed: number
  signal?: AbortSignal | undefined
}

/** Everything about a setting that no draw changes. */
class Geometry {
  readonly deviations: Float64Array
  readonly precisions: Float64Array
  readonly centred: Float64Array
  readonly direction: Float64Array
  readonly precisionSum: number
  readonly weightedReward: number

  constructor({ variances: [low, high], name }: ReturnSetting, { dimension, seed }: SimulationOptions) {
    const spaced = Float64Array.from({ length: dimension }, (_, i) => low + ((high - low) * i) / (dimension - 1))
    this.deviations = spaced.map(Math.sqrt)
    this.precisions = spaced.map((variance) => 1 / variance)
    const random = new Float64Array(4 * dimension)
    new Normals(seed, name, 'r*').fill(random)
    this.centred = scaled(centred(random.subarray(0, dimension)), REWARD_LENGTH)
    this.direction = scaled(random.slice(2 * dimension, 3 * dimension), 1)
    this.precisionSum = sumOf(this.precisions)
    this.weightedReward = sumOf(this.precisions, (w, i) => w * (this.centred[i] as number))
  }
}

const sumOf = (values: Float64Array, term: (value: number, i: number) => number = (value) => value): number =>
  values.reduce((sum, value, i) => sum + term(value, i), 0)

function centred(values: Float64Array): Float64Array {
  const mean = sumOf(values) / values.length
  return values.map((value) => value - mean)
}

function scaled(values: Float64Array, length: number): Float64Array {
  const factor = length / Math.sqrt(sumOf(values, (value) => value * value))
  return values.map((value) => factor * value)
}

/** Per draw: both gains for epsilon 1 with zero-sum steps, and the noise of both tests of theorem 3.3. */
interface Draws {
  unaware: Float64Array
  aware: Float64Array
  noiseUnaware: Float64Array
  noiseAware: Float64Array
}

async function simulate(geometry: Geometry, setting: ReturnSetting, options: SimulationOptions): Promise<Draws> {
  const { draws, seed, signal } = options
  const out: Draws = {
    unaware: new Float64Array(draws),
    aware: new Float64Array(draws),
    noiseUnaware: new Float64Array(draws),
    noiseAware: new Float64Array(draws),
  }
  const normals = new Normals(seed, setting.name, 'draws')
  const z = new Float64Array(options.dimension)
  const smallest = setting.variances[0]
  await inBlocks(draws, 1024, signal, (begin, end) => {
    for (let draw = begin; draw < end; draw += 1) {
      normals.fill(z)
      evaluate(geometry, smallest, z, out, draw)
    }
  })
  return out
}

/** What the estimate r* + Sigma^(1/2) z makes of both policies. */
function evaluate(geometry: Geometry, smallest: number, z: Float64Array, out: Draws, draw: number): void {
  const { deviations, precisions, centred: reward, direction, precisionSum, weightedReward } = geometry
  let [sum, square, product, weighted, weightedSquare, weightedProduct, noise, weightedNoise] = [0, 0, 0, 0, 0, 0, 0, 0]
  for (let i = 0; i < z.length; i += 1) {
    const error = (deviations[i] as number) * (z[i] as number)
    const [r, w, u] = [reward[i] as number, precisions[i] as number, direction[i] as number]
    // The mean of r* drops out of a zero-sum step.
    const estimate = r + error
    sum += estimate
    square += estimate * estimate
    product += estimate * r
    weighted += w * estimate
    weightedSquare += w * estimate * estimate
    weightedProduct += w * estimate * r
    noise += error * u
    weightedNoise += w * error * u
  }
  const centre = weighted / precisionSum
  out.unaware[draw] = product / Math.sqrt(square - (sum * sum) / z.length)
  out.aware[draw] =
    (Math.sqrt(smallest) * (weightedProduct - centre * weightedReward)) /
    Math.sqrt(weightedSquare - centre * centre * precisionSum)
  out.noiseUnaware[draw] = noise
  out.noiseAware[draw] = weightedNoise
}

/** Theorem 3.3 as printed: r* = length * direction, steps as in the definitions. */
function underperformance(geometry: Geometry, { noiseUnaware, noiseAware }: Draws): Underperformance[] {
  const { deviations, precisions, direction } = geometry
  const spread = Math.sqrt(sumOf(direction, (u, i) => (u * (deviations[i] as number)) ** 2))
  const information = sumOf(direction, (u, i) => u * u * (precisions[i] as number))
  return SIGNAL.map((signal) => {
    const length = signal * spread
    const count = (noise: Float64Array, certain: number) =>
      noise.reduce((hits, value) => hits + (length * certain + value <= 0 ? 1 : 0), 0)
    return {
      signal,
      unaware: { ...probability(count(noiseUnaware, 1), noiseUnaware.length), closedForm: normalCdf(-length / spread) },
      aware: {
        ...probability(count(noiseAware, information), noiseAware.length),
        closedForm: normalCdf(-length * Math.sqrt(information)),
      },
    }
  })
}

function histogramOf(unaware: Float64Array, aware: Float64Array): ReturnResult['histogram'] {
  const bins = 60
  const all = [...quantiles(unaware), ...quantiles(aware)]
  const [low, high] = [Math.min(...all), Math.max(...all)]
  const width = (high - low) / bins
  return (['unaware', 'aware'] as const).flatMap((policy) => {
    const counts = new Array<number>(bins).fill(0)
    for (const value of policy === 'unaware' ? unaware : aware) {
      const bin = Math.floor((value - low) / width)
      if (bin >= 0 && bin < bins) counts[bin] = (counts[bin] as number) + 1
    }
    return counts.map((count, bin) => ({ policy, from: low + bin * width, to: low + (bin + 1) * width, count }))
  })
}

/** Where a histogram begins and ends: all but one draw in a thousand. */
function quantiles(values: Float64Array): [number, number] {
  const sorted = values.slice().sort()
  const cut = Math.floor(sorted.length / 2000)
  return [sorted[cut] as number, sorted[sorted.length - 1 - cut] as number]
}

export async function simulateReturns(setting: ReturnSetting, options: SimulationOptions): Promise<ReturnResult> {
  const geometry = new Geometry(setting, options)
  const drawn = await simulate(geometry, setting, options)
  // Both returns scale with the square root of epsilon.
  const step = setting.targetStd / moments(drawn.unaware).std.estimate
  const gains = { unaware: drawn.unaware.map((gain) => step * gain), aware: drawn.aware.map((gain) => step * gain) }
  const unaware = moments(gains.unaware.map((gain) => MEAN_REWARD + gain))
  const aware = moments(gains.aware.map((gain) => MEAN_REWARD + gain))
  const below = (values: Float64Array) =>
    probability(
      values.reduce((hits, gain) => hits + (gain < 0 ? 1 : 0), 0),
      values.length,
    )
  return {
    name: setting.name,
    variances: setting.variances,
    dimension: options.dimension,
    draws: options.draws,
    epsilon: step * step,
    meanUnaware: unaware.mean.estimate,
    meanAware: aware.mean.estimate,
    stdUnaware: unaware.std.estimate,
    stdAware: aware.std.estimate,
    intervals: {
      meanUnaware: unaware.mean,
      meanAware: aware.mean,
      stdUnaware: unaware.std,
      stdAware: aware.std,
    },
    belowReference: { unaware: below(gains.unaware), aware: below(gains.aware) },
    underperformance: underperformance(geometry, drawn),
    histogram: histogramOf(gains.unaware, gains.aware),
  }
}
