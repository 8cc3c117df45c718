import type { NativeFeatureCache, NativeModel, NativeProcessGroup } from '../addon/native.js'
import type { Checkpoint } from '../run/checkpoints.js'
import type { RunDirectory } from '../run/run-directory.js'
import type { CheckpointSettings, HeadsSettings, LanguageModelSettings, RewardSettings } from './settings.js'

/** Numbers of one optimiser step; `step` counts from 1. */
export type StepMetrics = { step: number } & Record<string, number>

/** What every training call takes beside its data: where to save, when to stop, whom to tell. */
export interface TrainingContext {
  /** Without a run directory nothing is written and nothing can be resumed. */
  run?: RunDirectory
  saving?: CheckpointSettings
  /** What `run.resume()` gave. The model must have been opened from it (`checkpointModel`). */
  checkpoint?: Checkpoint | null
  /** Ends training before the next optimiser update, at a checkpoint; the call rejects with E_CANCELLED. */
  signal?: AbortSignal
  /**
   * The ranks that train together. Each calls with the same data, settings and weights and gets the same result; rank 0 alone has a
   * `run`. They stop together, before a step, once the signal of any is aborted.
   */
  group?: NativeProcessGroup
  /** After every step, with their number in all. */
  onStep?: (metrics: StepMetrics, total: number) => void
}

export interface TrainingResult {
  /** Optimiser steps taken, those before a resume included. */
  steps: number
  /** The smoothed loss reached `stopAt.loss`. */
  stoppedEarly: boolean
  /** One entry a step; after a resume all of them, read back from the run directory. */
  metrics: StepMetrics[]
}

export interface TokenPairs {
  chosen: readonly Int32Array[]
  rejected: readonly Int32Array[]
  /** `file:row` of each pair, as errors name it. */
  places?: readonly string[]
}

export interface LanguageModelTraining extends TrainingContext {
  /** Causal language model, trained in place. */
  model: NativeModel
  rows: readonly Int32Array[]
  /** `file:row` of each row, as errors name it. */
  places?: readonly string[]
  heldOut?: readonly Int32Array[]
  settings: LanguageModelSettings
}
export interface LanguageModelResult extends TrainingResult {
  /** Nats per predicted token over the held-out rows; null without them. */
  heldOutLoss: number | null
}

export interface RewardTraining extends TrainingContext {
  /** Sequence classifier, trained in place. */
  model: NativeModel
  pairs: TokenPairs
  heldOut?: TokenPairs
  settings: RewardSettings
}
export interface RewardResult extends TrainingResult {
  /** Mean over heads of the held-out share of pairs with chosen strictly above rejected; null without held-out pairs. */
  heldOutAccuracy: number | null
  /** Bradley-Terry loss over the held-out pairs, mean over heads. */
  heldOutLoss: number | null
}

/** Last-token features of preference pairs: pair i has rows chosen[i] and rejected[i] of the cache. */
export interface PairFeatures {
  cache: NativeFeatureCache
  chosen: Int32Array
  rejected: Int32Array
  /** `file:row` of each pair. */
  places?: readonly string[]
}

/** Numbers of the random streams that a head takes its start, its bootstrap sample and its order of the pairs from. */
export interface HeadStreams {
  init: number
  sample: number
  order: number
}

export interface HeadsTraining extends TrainingContext {
  features: PairFeatures
  heldOut?: PairFeatures
  settings: HeadsSettings
  /** The trained head [hidden] that `init.kind: keep-first` puts first. */
  firstHead?: Float32Array
  /** One entry a head; default: a head's own number for each. Heads may share one source of chance and differ in another. */
  streams?: readonly HeadStreams[]
}
export interface HeadsResult extends TrainingResult {
  /** [heads, hidden], row-major: score.weight of the ensemble. */
  weights: Float32Array
  /** [heads, hidden]: where the heads started. */
  initial: Float32Array
  heads: number
  hidden: number
  /** Smoothed training loss of each head at the end, [heads]. */
  lossPerHead: Float32Array
  /** [heads]; null without held-out pairs. */
  heldOutAccuracyPerHead: Float32Array | null
}

export interface EnsembleTraining extends Omit<HeadsTraining, 'features' | 'heldOut' | 'firstHead'> {
  /** Sequence classifier; its base stays as it is, its score.weight becomes [heads, hidden]. */
  model: NativeModel
  pairs: TokenPairs
  heldOut?: TokenPairs
}
