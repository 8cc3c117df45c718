import { deriveSeed } from '../data/random.js'
import { argumentError } from '../errors.js'
import { trainHeads } from '../training/heads.js'
import type { HeadsResult, HeadsTraining, PairFeatures } from '../training/types.js'
import type { UncertaintySource } from './linear-source.js'

/** Features of one layer. */
export interface LayerFeatures {
  layer: number
  features: PairFeatures
  heldOut?: PairFeatures | undefined
}

/** Of a base with `count` layers: ascending, the last among them, heads shared out evenly. */
export function checkLayers(layers: readonly number[], count: number, heads: number): void {
  const problem = layersProblem(layers, count, heads)
  if (problem === null) return
  const argument = { layers: 'uncertainty.layers', heads: 'training.heads' }[problem.of]
  throw argumentError('E_CONFIG', argument, problem.expected, problem.of === 'heads' ? `${heads}` : layers.join(', '))
}

/** What is wrong with layers, or with the number of heads on them; null: nothing. */
export function layersProblem(
  layers: readonly number[],
  count: number,
  heads: number,
): { of: 'layers' | 'heads'; expected: string } | null {
  const ascending = layers.every((layer, index) => index === 0 || layer > (layers[index - 1] as number))
  if (!ascending || layers.at(-1) !== count)
    return { of: 'layers', expected: `ascending numbers that end with ${count}, the last layer` }
  if (heads % layers.length !== 0 || heads < layers.length)
    return { of: 'heads', expected: `a multiple of ${layers.length}, the number of layers` }
  return null
}

/**
 * Heads that read different layers, the last layer's first. Each layer's heads are trained from its own features, so what they disagree
 * on is what the layers know beside their starts.
 */
export async function layersSource(
  layers: readonly LayerFeatures[],
  training: Omit<HeadsTraining, 'features' | 'heldOut'>,
): Promise<{ source: UncertaintySource; result: HeadsResult }> {
  const { settings, onStep, signal, firstHead } = training
  const perLayer = settings.heads / layers.length
  const hidden = (layers[0] as LayerFeatures).features.cache.info().hidden
  const width = layers.length * hidden
  const weights = new Float32Array(settings.heads * width)
  const results: HeadsResult[] = []
  for (const [order, { layer, features, heldOut }] of [...layers].reverse().entries()) {
    const block = layers.length - 1 - order
    // Only the last layer has a head that was trained before.
    const init = order === 0 ? settings.init : { ...settings.init, kind: 'all-new' as const }
    const result = await trainHeads({
      features,
      ...(heldOut && { heldOut }),
      settings: {
        ...settings,
        init,
        heads: perLayer,
        seed: order === 0 ? settings.seed : deriveSeed(settings.seed, 'layer', layer),
      },
      ...(order === 0 && firstHead && { firstHead }),
      ...(signal && { signal }),
      ...(onStep && { onStep }),
    })
    for (let head = 0; head < perLayer; head++)
      weights.set(
        result.weights.subarray(head * hidden, (head + 1) * hidden),
        (order * perLayer + head) * width + block * hidden,
      )
    results.push(result)
  }
  const numbers = layers.map(({ layer }) => layer)
  const fit = { headsPerLayer: perLayer }
  const shape = { hidden, heads: settings.heads, scoreHeads: perLayer }
  const source = { source: 'layers' as const, layers: numbers, fit, ...shape, weights, spread: null }
  return { source, result: joined(results) }
}

function joined(results: readonly HeadsResult[]): HeadsResult {
  const first = results[0] as HeadsResult
  const join = (of: (result: HeadsResult) => Float32Array) =>
    Float32Array.from(results.flatMap((result) => [...of(result)]))
  return {
    ...first,
    stoppedEarly: results.every(({ stoppedEarly }) => stoppedEarly),
    heads: results.reduce((sum, { heads }) => sum + heads, 0),
    weights: join(({ weights }) => weights),
    initial: join(({ initial }) => initial),
    lossPerHead: join(({ lossPerHead }) => lossPerHead),
    heldOutAccuracyPerHead:
      first.heldOutAccuracyPerHead === null ? null : join((result) => result.heldOutAccuracyPerHead as Float32Array),
  }
}
