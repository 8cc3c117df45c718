/** What the disagreement of heads looks like by section (figure 6) and what it is good for: errors, calibration, effective heads. */
import { PrudentError } from '../../errors.js'
import type { PairScores } from '../benchmark/rules.js'
import { type HistogramData, histogram, standardDeviation } from '../describe.js'
import { isKnownSubset, sectionNames, sectionOf } from '../reward-bench.js'
import { differenceOf, headOf, meanOverHeads, rowOf, type ScoreMatrix, selectRows } from '../score-matrix.js'
import { varianceOverHeads } from '../variances.js'
import { effectiveHeads, meanErrorCorrelation } from './effective-heads.js'
import { type Interval, intervals, type ResamplingOptions } from './resampling.js'
import {
  ascending,
  auroc,
  expectedCalibrationError,
  harmonicNumbers,
  type ReliabilityBin,
  type RiskPoint,
  reliability,
  riskCoverage,
  riskCoverageArea,
  sumOf,
  type Weights,
  weightedMean,
  weightedMedian,
} from './weighted.js'

/** What may tell that the ensemble is wrong; none uses which side was accepted. */
export const SIGNALS = {
  stdDifference: 'std over heads of the difference',
  stdBothSides: 'std over heads, mean of both sides',
  relative: 'std of the difference / |mean difference|',
  margin: 'small |mean difference| (no heads needed)',
} as const
export type Signal = keyof typeof SIGNALS

export interface SectionStudy {
  /** A section's name, or `All`. */
  section: string
  pairs: number
  prompts: number
  /** Sample variances over heads (ddof 1). */
  accepted: HistogramData
  difference: HistogramData
  /** Estimates with bootstrap intervals over prompts. */
  statistics: Record<StatisticName, Interval>
  /** At most 60 points a signal. */
  riskCoverage: Record<Signal, RiskPoint[]>
  reliability: ReliabilityBin[]
}

export type StatisticName =
  | 'acceptedMean'
  | 'acceptedMedian'
  | 'differenceMean'
  | 'differenceMedian'
  | 'errorRate'
  | `auroc.${Signal}`
  | `aurc.${Signal}`
  | 'ece'
  | 'eceOfMeanScore'
  | 'effectiveHeads'
  | 'effectiveHeadsOfResiduals'
  | 'errorCorrelation'

export const ALL = 'All'

/**
 * One entry a section that the data has, and `All` over every row.
 * @throws E_DATA for fewer than two heads, whose variance does not exist
 */
export async function varianceStudy(
  scores: PairScores,
  rows: readonly { subset: string; prompt: string }[],
  options: ResamplingOptions,
): Promise<SectionStudy[]> {
  const { heads } = scores.chosen
  if (heads < 2) {
    throw new PrudentError('E_DATA', `model: expected at least 2 heads in all, received ${heads}; repeat --model`, {
      argument: '--model',
      expected: 'at least 2 heads',
      received: String(heads),
    })
  }
  const sections = rows.map(({ subset }) => (isKnownSubset(subset) ? sectionOf(subset) : null))
  const studies: SectionStudy[] = []
  for (const section of [...sectionNames(), ALL]) {
    const members = rows.flatMap((_, row) => (section === ALL || sections[row] === section ? [row] : []))
    if (members.length === 0) continue
    const own = { chosen: selectRows(scores.chosen, members), rejected: selectRows(scores.rejected, members) }
    const prompts = members.map((row) => rows[row]?.prompt as string)
    const size = { pairs: members.length, prompts: new Set(prompts).size }
    studies.push({ section, ...size, ...(await studySection(own, prompts, options)) })
  }
  return studies
}

async function studySection({ chosen, rejected }: PairScores, prompts: readonly string[], options: ResamplingOptions) {
  const difference = differenceOf(chosen, rejected)
  const columns = columnsOf(chosen, rejected, difference)
  const statistics = await intervals(prompts, statisticsOf(columns), options)
  const once = new Int32Array(prompts.length).fill(1)
  const eachSignal = <T>(make: (signal: Signal) => T) =>
    Object.fromEntries(columns.signals.map(({ name }) => [name, make(name)])) as Record<Signal, T>
  const curve = (name: Signal) => {
    const signal = columns.signals.find((entry) => entry.name === name) as SignalColumn
    return thinned(riskCoverage(signal.values, signal.order, columns.wrong, once), 60)
  }
  return {
    accepted: histogram(columns.accepted),
    difference: histogram(columns.difference),
    statistics,
    riskCoverage: eachSignal(curve),
    reliability: reliability(columns.confidence, columns.right, once),
  }
}

interface SignalColumn {
  name: Signal
  values: Float64Array
  order: Int32Array
}

type Columns = ReturnType<typeof columnsOf>

/** Everything that does not depend on the resample, [rows] each. */
function columnsOf(chosen: ScoreMatrix, rejected: ScoreMatrix, difference: ScoreMatrix) {
  const margin = meanOverHeads(difference)
  const spread = Float64Array.from(margin, (_, row) => standardDeviation(rowOf(difference, row)))
  const both = Float64Array.from(
    margin,
    (_, row) => (standardDeviation(rowOf(chosen, row)) + standardDeviation(rowOf(rejected, row))) / 2,
  )
  // Where heads agree exactly on a margin of zero nothing is known: as uncertain as can be.
  const relative = spread
    .map((value, row) => value / Math.abs(margin[row] as number))
    .map((v) => (Number.isNaN(v) ? Infinity : v))
  const signal = (name: Signal, values: Float64Array): SignalColumn => ({ name, values, order: ascending(values) })
  const probability = Float64Array.from(margin, (_, row) => meanProbability(rowOf(difference, row)))
  const wrong = Uint8Array.from(margin, (value) => (value > 0 ? 0 : 1))
  const perHead = Array.from({ length: difference.heads }, (_, head) => headOf(difference, head))
  const [accepted, ofDifference] = [varianceOverHeads(chosen), varianceOverHeads(difference)]
  return {
    accepted,
    acceptedOrder: ascending(accepted),
    difference: ofDifference,
    differenceOrder: ascending(ofDifference),
    wrong,
    signals: [
      signal('stdDifference', spread),
      signal('stdBothSides', both),
      signal('relative', relative),
      signal(
        'margin',
        margin.map((value) => -Math.abs(value)),
      ),
    ],
    confidence: probability.map(confidenceOf),
    right: Uint8Array.from(probability, (value) => (value > 0.5 ? 1 : 0)),
    confidenceOfMean: margin.map((value) => confidenceOf(sigmoid(value))),
    rightOfMean: wrong.map((value) => 1 - value),
    headErrors: perHead.map((column) => Uint8Array.from(column, (value) => (value > 0 ? 0 : 1))),
    headResiduals: perHead.map((column) => column.map((value) => sigmoid(-value))),
  }
}

function statisticsOf(columns: Columns): (weights: Weights) => Record<StatisticName, number> {
  const { wrong, signals } = columns
  let harmonic = harmonicNumbers(wrong.length)
  return (weights) => {
    // Clusters differ in size, so a resample may hold more rows than the data.
    const total = sumOf(weights)
    if (total >= harmonic.length) harmonic = harmonicNumbers(2 * total)
    const entries = signals.flatMap(({ name, values, order }) => [
      [`auroc.${name}`, auroc(values, order, wrong, weights)],
      [`aurc.${name}`, riskCoverageArea(values, order, wrong, weights, harmonic)],
    ])
    return {
      acceptedMean: weightedMean(columns.accepted, weights),
      acceptedMedian: weightedMedian(columns.accepted, columns.acceptedOrder, weights),
      differenceMean: weightedMean(columns.difference, weights),
      differenceMedian: weightedMedian(columns.difference, columns.differenceOrder, weights),
      errorRate: weightedMean(wrong, weights),
      ece: expectedCalibrationError(reliability(columns.confidence, columns.right, weights)),
      eceOfMeanScore: expectedCalibrationError(reliability(columns.confidenceOfMean, columns.rightOfMean, weights)),
      effectiveHeads: effectiveHeads(columns.headErrors, weights),
      effectiveHeadsOfResiduals: effectiveHeads(columns.headResiduals, weights),
      errorCorrelation: meanErrorCorrelation(columns.headErrors, weights),
      ...(Object.fromEntries(entries) as Record<`auroc.${Signal}` | `aurc.${Signal}`, number>),
    }
  }
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const confidenceOf = (probability: number): number => Math.max(probability, 1 - probability)
const meanProbability = (differences: Float32Array): number =>
  differences.reduce((sum, value) => sum + sigmoid(value), 0) / differences.length

/** Points spread evenly over the curve, both ends kept. */
function thinned<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points]
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))] as T)
}
