/** Single operations, for tests and benches. Conventions: ../native.ts. */
import type { NativeCall } from './calls.js'
import type { KlEstimator } from './ppo.js'

export interface NativeOps {
  varianceKlAdvantage(args: VarianceKlAdvantageArgs, call?: NativeCall): Promise<VarianceKlAdvantageResult>
  ppoLoss(args: PpoLossArgs, call?: NativeCall): Promise<PpoLossResult>
  bradleyTerry(args: BradleyTerryArgs, call?: NativeCall): Promise<BradleyTerryResult>
}
/** Of `ops.varianceKlAdvantage`, which gives shapes and defaults. */
export interface VarianceKlAdvantageArgs {
  logprobs: Float32Array
  refLogprobs: Float32Array
  values: Float32Array
  scores: Float32Array
  klWeights: Float32Array
  responseLengths: Int32Array
  shape: [batch: number, time: number]
  gamma?: number
  lambda?: number
  whiten?: boolean
  whitenRewards?: boolean
  klPenalty?: KlEstimator
  klPerToken?: Float32Array
}
/** Each [batch, time]. */
export interface VarianceKlAdvantageResult {
  rewards: Float32Array
  advantages: Float32Array
  returns: Float32Array
  kl: Float32Array
}
/** Of `ops.ppoLoss`, which gives shapes and defaults. */
export interface PpoLossArgs {
  logprobs: Float32Array
  values: Float32Array
  oldLogprobs: Float32Array
  oldValues: Float32Array
  advantages: Float32Array
  returns: Float32Array
  responseLengths: Int32Array
  shape: [batch: number, time: number]
  clipRange?: number
  clipRangeValue?: number
  vfCoef?: number
  ratioThreshold?: number
}
/** Gradients of `loss` are [batch, time]. */
export interface PpoLossResult {
  loss: number
  policyLoss: number
  valueLoss: number
  gradLogprobs: Float32Array
  gradValues: Float32Array
  stats: Record<string, number>
}
/** chosen, rejected [pairs, heads]. */
export interface BradleyTerryArgs {
  chosen: Float32Array
  rejected: Float32Array
  shape: [pairs: number, heads: number]
}
/** Per head [heads]; gradients of `loss` [pairs, heads]. */
export interface BradleyTerryResult {
  loss: number
  lossPerHead: Float32Array
  accuracyPerHead: Float32Array
  gradChosen: Float32Array
  gradRejected: Float32Array
}
