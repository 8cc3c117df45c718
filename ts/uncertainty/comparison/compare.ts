/** Sources side by side on the same features: does sigma tell errors, are probabilities honest, how many members are there, what does it cost. */

import { argumentError } from '../../errors.js'
import { correlation, mean, standardDeviation } from '../../evaluation/describe.js'
import { effectiveHeads } from '../../evaluation/uncertainty/effective-heads.js'
import { type Interval, intervals } from '../../evaluation/uncertainty/resampling.js'
import {
  ascending,
  auroc,
  expectedCalibrationError,
  harmonicNumbers,
  reliability,
  riskCoverageArea,
  sumOf,
  type Weights,
  weightedMean,
} from '../../evaluation/uncertainty/weighted.js'
import type { HeadsSettings } from '../../training/settings.js'
import { fitSource, layersOf } from '../fit.js'
import { checkLayers, type LayerFeatures } from '../layers.js'
import type { UncertaintySource } from '../linear-source.js'
import { type ComparedSource, type ComparisonConfig, nameOf } from './config.js'
import {
  centredColumns,
  deviations,
  differences,
  effectiveDirections,
  type PairColumns,
  pairColumns,
  rewards,
  sigmas,
} from './pair-columns.js'

export type SourceStatistic =
  | 'errorRate'
  /** Probability that a wrong pair has the larger sigma of the difference than a right one. */
  | 'aurocSigma'
  /** The same of the uncertainty of the probability, and of a small margin, which needs no sigma. */
  | 'aurocProbability'
  | 'aurocMargin'
  | 'aurcSigma'
  | 'aurcProbability'
  | 'aurcMargin'
  | 'ece'
  | 'logLoss'

export interface SourceResult {
  name: string
  source: string
  heads: number
  /** Of the fit: steps, precision and the like. */
  fit: Record<string, number>
  statistics: Record<SourceStatistic, Interval>
  /** Standard deviation over responses of sigma, relative to its mean. */
  cvRaw: number
  cvCentred: number
  meanSigma: number
  meanSigmaDifference: number
  /** Pearson, of sigma of the difference with |margin|: sigma that only follows the margin says nothing of its own. */
  marginCorrelation: number
  effectiveDirections: number
  /** By the correlation of the heads' errors; null for one head. */
  effectiveHeads: number | null
  cost: { fitSeconds: number; weights: number; multipliesPerResponse: number; microsecondsPerResponse: number }
}

export interface CompareOptions {
  signal: AbortSignal
  started?: (name: string) => void
}

/** @param layers of the base, ascending, with held-out pairs; the last is the base's last layer */
export async function compareSources(
  config: Pick<ComparisonConfig, 'sources' | 'training' | 'bootstrap' | 'level' | 'seed'>,
  layers: readonly LayerFeatures[],
  options: CompareOptions,
): Promise<SourceResult[]> {
  const results: SourceResult[] = []
  for (const compared of config.sources) {
    options.started?.(nameOf(compared))
    results.push(await resultOf(config, compared, layers, options.signal))
  }
  return results
}

/** Layers that any of the sources reads, ascending. */
export function comparedLayers(sources: readonly ComparedSource[], count: number): number[] {
  const all = sources.flatMap(({ uncertainty }) => layersOf(uncertainty, count))
  return [...new Set([...all, count])].sort((a, b) => a - b)
}

async function resultOf(
  config: Parameters<typeof compareSources>[0],
  compared: ComparedSource,
  layers: readonly LayerFeatures[],
  signal: AbortSignal,
): Promise<SourceResult> {
  const { uncertainty } = compared
  const count = (layers.at(-1) as LayerFeatures).layer
  const settings = settingsOf(config.training, compared)
  if (uncertainty.source === 'layers') checkLayers(uncertainty.layers, count, settings.heads)
  const wanted = layersOf(uncertainty, count)
  const features = layers.filter(({ layer }) => wanted.includes(layer))
  const start = performance.now()
  const { source, result } = await fitSource({ settings, uncertainty, features, signal })
  const fitSeconds = (performance.now() - start) / 1000
  if (source === null)
    throw argumentError('E_CONFIG', 'training.heads', 'at least 2 heads for a source that is their disagreement', '1')
  const scoring = performance.now()
  const held = features.map(({ heldOut }) => heldOut as NonNullable<typeof heldOut>)
  const columns = await pairColumns(source, held, signal)
  const microseconds = ((performance.now() - scoring) * 1000) / (2 * columns.pairs)
  const fit = { steps: result.steps, ...source.fit }
  return {
    name: nameOf(compared),
    source: source.source,
    heads: source.heads,
    fit,
    ...(await measureSource(columns, config, signal)),
    cost: { fitSeconds, ...sizeOf(source), microsecondsPerResponse: microseconds },
  }
}

function settingsOf(training: HeadsSettings, { steps, lr, initStd }: ComparedSource): HeadsSettings {
  return {
    ...training,
    ...(steps !== undefined && { steps }),
    optimiser: { ...training.optimiser, ...(lr !== undefined && { lr }) },
    // There is no trained head among cached features.
    init: { kind: 'all-new', std: initStd ?? training.init.std },
  }
}

function sizeOf({ weights, spread }: UncertaintySource) {
  const size = weights.length + (spread?.factor.length ?? 0)
  return { weights: size, multipliesPerResponse: size }
}

type Measures = Omit<SourceResult, 'name' | 'source' | 'heads' | 'fit' | 'cost'>

export async function measureSource(
  columns: PairColumns,
  { bootstrap, level, seed }: Pick<ComparisonConfig, 'bootstrap' | 'level' | 'seed'>,
  signal?: AbortSignal,
): Promise<Measures> {
  const difference = differences(columns)
  const [margin, sigma] = [rewards(difference, columns), sigmas(difference, columns)]
  const probability = probabilities(difference, columns, margin, sigma)
  const clusters = Array.from(margin, (_, pair) => String(pair))
  const both = Float32Array.from([...columns.chosen, ...columns.rejected])
  const [raw, centred] = [sigmas(both, columns), sigmas(centredColumns(both, columns), columns)]
  const deviated = deviations(difference, columns)
  const resampling = { draws: bootstrap, seed, level, signal }
  return {
    statistics: await intervals(clusters, statisticsOf(margin, sigma, probability), resampling),
    cvRaw: standardDeviation(raw) / mean(raw),
    cvCentred: standardDeviation(centred) / mean(centred),
    meanSigma: mean(raw),
    meanSigmaDifference: mean(sigma),
    marginCorrelation: correlation(
      sigma,
      margin.map((value) => Math.abs(value)),
    ),
    effectiveDirections: effectiveDirections(deviated, deviated.length / margin.length),
    effectiveHeads: columns.heads > 1 ? headsWorth(difference, columns) : null,
  }
}

/**
 * That the chosen side is preferred, sigma taken in: the mean over heads of each head's probability, or, where sigma is of one head,
 * MacKay's sigmoid(m / sqrt(1 + pi s^2 / 8)).
 */
function probabilities(
  difference: Float32Array,
  { heads, spread }: PairColumns,
  margin: Float64Array,
  sigma: Float64Array,
): Float64Array {
  if (spread > 0)
    return margin.map((value, pair) => sigmoid(value / Math.sqrt(1 + (Math.PI * (sigma[pair] as number) ** 2) / 8)))
  return margin.map((_, pair) => mean(difference.subarray(pair * heads, (pair + 1) * heads).map(sigmoid)))
}

function statisticsOf(margin: Float64Array, sigma: Float64Array, probability: Float64Array) {
  const wrong = Uint8Array.from(margin, (value) => (value > 0 ? 0 : 1))
  const signals = {
    Sigma: sigma,
    Probability: probability.map((value) => -Math.abs(value - 0.5)),
    Margin: margin.map((value) => -Math.abs(value)),
  }
  const orders = {
    Sigma: ascending(sigma),
    Probability: ascending(signals.Probability),
    Margin: ascending(signals.Margin),
  }
  const names = ['Sigma', 'Probability', 'Margin'] as const
  const confidence = probability.map((value) => Math.max(value, 1 - value))
  const right = Uint8Array.from(probability, (value) => (value > 0.5 ? 1 : 0))
  const loss = probability.map((value) => -Math.log(Math.max(value, Number.MIN_VALUE)))
  let harmonic = harmonicNumbers(2 * margin.length)
  return (weights: Weights): Record<SourceStatistic, number> => {
    const total = sumOf(weights)
    if (total >= harmonic.length) harmonic = harmonicNumbers(2 * total)
    const entries = names.flatMap((name) => [
      [`auroc${name}`, auroc(signals[name], orders[name], wrong, weights)],
      [`aurc${name}`, riskCoverageArea(signals[name], orders[name], wrong, weights, harmonic)],
    ])
    return {
      ...(Object.fromEntries(entries) as Record<Exclude<SourceStatistic, 'errorRate' | 'ece' | 'logLoss'>, number>),
      errorRate: weightedMean(wrong, weights),
      ece: expectedCalibrationError(reliability(confidence, right, weights)),
      logLoss: weightedMean(loss, weights),
    }
  }
}

/** Heads that err independently, of those there are. */
function headsWorth(difference: Float32Array, { heads, spread, pairs }: PairColumns): number {
  const columns = heads + spread
  const errors = Array.from({ length: heads }, (_, head) =>
    Uint8Array.from({ length: pairs }, (_, pair) => ((difference[pair * columns + head] as number) > 0 ? 0 : 1)),
  )
  return effectiveHeads(errors, new Int32Array(pairs).fill(1))
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
