import { callNative } from '../addon/call.js'
import type { NativeModel } from '../addon/native.js'
import { type CacheOptions, cachePairFeatures, headMeasures } from '../training/features.js'
import { trainHeads } from '../training/heads.js'
import type { HeadsSettings } from '../training/settings.js'
import type { EnsembleTraining, HeadsResult, HeadsTraining, PairFeatures, TokenPairs } from '../training/types.js'
import { laplaceSource } from './laplace.js'
import { checkLayers, type LayerFeatures, layersSource } from './layers.js'
import { dropoutSource, headsSource, installSource, type UncertaintySource } from './linear-source.js'
import { headsOf, type UncertaintySettings } from './settings.js'

export interface FittedSource {
  /** null for a single trained head, which has no sigma. */
  source: UncertaintySource | null
  result: Omit<HeadsResult, 'initial'>
}

export interface SourceTraining extends Omit<HeadsTraining, 'features' | 'heldOut'> {
  uncertainty: UncertaintySettings
  /** Of the layers that the source reads (`layersOf`), ascending. */
  features: readonly LayerFeatures[]
}

/** Layers of a base of `count` that a source reads. */
export const layersOf = (uncertainty: UncertaintySettings, count: number): number[] =>
  uncertainty.source === 'layers' ? uncertainty.layers : [count]

/** Trains or solves a source from cached features. */
export async function fitSource({ uncertainty, features, ...training }: SourceTraining): Promise<FittedSource> {
  const settings = headsOf(training.settings, uncertainty)
  const last = features.at(-1) as LayerFeatures
  if (uncertainty.source === 'layers') return layersSource(features, { ...training, settings })
  if (uncertainty.source === 'laplace') {
    const { priorPrecision } = uncertainty
    const source = await laplaceSource(last.features, { priorPrecision, layer: last.layer, signal: training.signal })
    return { source, result: await solved(source, last, training.signal) }
  }
  const heldOut = last.heldOut && { heldOut: last.heldOut }
  const result = await trainHeads({ ...training, ...heldOut, settings, features: last.features })
  if (uncertainty.source === 'dropout') {
    const { rate, passes } = uncertainty
    const source = dropoutSource(result.weights, { rate, passes, layer: last.layer, seed: settings.seed })
    return { source, result }
  }
  return { source: result.heads > 1 ? headsSource(result.weights, result.heads, kindOf(settings)) : null, result }
}

/** What trained heads are, however their settings came about. */
function kindOf({ bootstrap, anchored }: HeadsSettings): 'heads' | 'bootstrap' | 'anchored-bootstrap' {
  if (!bootstrap) return 'heads'
  return anchored ? 'anchored-bootstrap' : 'bootstrap'
}

/** What training would say of a head in closed form. */
async function solved(
  source: UncertaintySource,
  { features, heldOut }: LayerFeatures,
  signal: AbortSignal | undefined,
): Promise<FittedSource['result']> {
  const { weights, heads, hidden, fit } = source
  const own = await headMeasures(features, weights, heads, signal)
  const held = heldOut && heldOut.chosen.length > 0 ? await headMeasures(heldOut, weights, heads, signal) : null
  const training = { steps: fit.newtonSteps as number, stoppedEarly: false, metrics: [] }
  return {
    ...training,
    ...{ weights, heads, hidden, lossPerHead: own.loss },
    heldOutAccuracyPerHead: held?.accuracy ?? null,
  }
}

export interface SourceOnModelTraining extends EnsembleTraining {
  uncertainty: UncertaintySettings
}

/** Fits a source on a sequence classifier's frozen base and makes the model score by it. */
export async function trainSource(training: SourceOnModelTraining): Promise<FittedSource> {
  const { model, pairs, heldOut, settings, uncertainty, signal, ...context } = training
  const { hiddenSize, layers: count } = model.info()
  if (uncertainty.source === 'layers') checkLayers(uncertainty.layers, count, settings.heads)
  const keepFirst = settings.init.kind === 'keep-first' && uncertainty.source !== 'laplace'
  const firstHead = keepFirst
    ? (await callNative({ signal }, (call) => model.scoreWeight(call))).slice(0, hiddenSize)
    : null
  const layers = layersOf(uncertainty, count)
  const options = { ...settings, layers, signal }
  const opened: PairFeatures[] = []
  const cache = async (from: TokenPairs) => {
    const features = await cacheLayers(model, from, options)
    opened.push(...features)
    return features
  }
  try {
    const own = await cache(pairs)
    const held = heldOut && heldOut.chosen.length > 0 ? await cache(heldOut) : null
    const features = layers.map((layer, index) => ({
      layer,
      features: own[index] as PairFeatures,
      ...(held && { heldOut: held[index] as PairFeatures }),
    }))
    const first = firstHead && { firstHead }
    const fitted = await fitSource({ ...context, ...first, ...(signal && { signal }), settings, uncertainty, features })
    if (fitted.source === null) await model.setScoreWeight(fitted.result.weights, fitted.result.heads)
    else await installSource(model, fitted.source)
    return fitted
  } finally {
    for (const { cache } of opened) await cache.dispose()
  }
}

/** One forward of the base; a cache a layer, in the order of `layers`. */
export async function cacheLayers(
  model: NativeModel,
  pairs: TokenPairs,
  options: CacheOptions & { layers: readonly number[] },
): Promise<PairFeatures[]> {
  const { layers, signal } = options
  const all = await cachePairFeatures(model, pairs, options)
  if (layers.length === 1) return [all]
  const hidden = model.info().hiddenSize
  try {
    const parts: PairFeatures[] = []
    for (let index = 0; index < layers.length; index++) {
      const cache = await callNative({ signal }, (call) => all.cache.columns(index * hidden, hidden, call))
      parts.push({ ...all, cache })
    }
    return parts
  } finally {
    await all.cache.dispose()
  }
}
