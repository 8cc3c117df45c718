import { callNative } from '../addon/call.js'
import { argumentError } from '../errors.js'
import type { PairFeatures } from '../training/types.js'
import type { UncertaintySource } from './linear-source.js'

export interface LaplaceOptions {
  /** Of the prior N(0, 1 / priorPrecision) of every weight; `evidence` (default) chooses the one under which the pairs are likeliest. */
  priorPrecision?: number | 'evidence'
  /** Number of the layer that the features are of. */
  layer: number
  /** Newton steps at most for one precision (default 50). */
  maxSteps?: number
  signal?: AbortSignal | undefined
}

/**
 * Bayesian Bradley-Terry head on frozen features, by Laplace: the mode w of sum_i ln sigmoid(d_i w) - precision / 2 |w|^2 over differences
 * d = chosen - rejected, and the posterior N(w, H^-1), H = sum_i p_i (1 - p_i) d_i d_i' + precision I. With H = L L' the factor is
 * L^-1, so the predictive variance x' H^-1 x is |L^-1 x|^2. Computed natively in double precision; pairs * hidden^2 work a Newton step.
 */
export async function laplaceSource(features: PairFeatures, options: LaplaceOptions): Promise<UncertaintySource> {
  const { priorPrecision = 'evidence', layer, maxSteps, signal } = options
  if (priorPrecision !== 'evidence' && !(priorPrecision > 0))
    throw argumentError('E_RANGE', 'priorPrecision', 'a number > 0', String(priorPrecision))
  const { cache, chosen, rejected } = features
  const prior = priorPrecision === 'evidence' ? { byEvidence: true } : { priorPrecision }
  const fitted = await callNative({ signal }, (call) =>
    cache.laplace(chosen, rejected, { ...prior, ...(maxSteps !== undefined && { maxSteps }) }, call),
  )
  const { weights, factor, newtonSteps, effectiveParameters, logEvidence } = fitted
  const hidden = weights.length
  const fit = { priorPrecision: fitted.priorPrecision, newtonSteps, effectiveParameters, logEvidence }
  const shape = { hidden, heads: 1, scoreHeads: 1 }
  return { source: 'laplace', layers: [layer], fit, ...shape, weights, spread: { rank: hidden, factor } }
}
