import type { NativeFeatureCache, NativeModel } from '../addon/native.js'
import type { RunDirectory } from '../run/run-directory.js'
import type { CheckpointSettings, HeadsSettings, LanguageModelSettings, RewardSettings } from './settings.js'

/** Numbers of one optimiser step; `step` counts from 1. */
export type StepMetrics = { step: number } & Record<string, number>

/** What every training call takes beside its data: where to save, when to stop, whom to tell. */
export interface TrainingContext {
  /** Without a run directory nothing is written and nothing can be resumed. */
  run?: RunDirectory
  checkpoint?: CheckpointSettings
  /** Stops after the step under way, at a checkpoint; the call rejects with E_CANCELLED. */
  signal?: AbortSignal
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
}

export interface LanguageModelTraining extends TrainingContext {
  /** Causal language model, trained in place. */
  model: NativeModel
  rows: readonly Int32Array[]
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
}

export interface HeadsTraining extends TrainingContext {
  features: PairFeatures
  heldOut?: PairFeatures
  settings: HeadsSettings
  /** The trained head [hidden] that `init.kind: keep-first` puts first. */
  firstHead?: Float32Array
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

/** ts/training/language-model.ts: trainLanguageModel */
export type TrainLanguageModel = (training: LanguageModelTraining) => Promise<LanguageModelResult>
/** ts/training/reward.ts: trainRewardModel */
export type TrainRewardModel = (training: RewardTraining) => Promise<RewardResult>
/** ts/training/heads.ts: trainHeads, from features that were computed once */
export type TrainHeads = (training: HeadsTraining) => Promise<HeadsResult>
/** ts/training/heads.ts: trainEnsemble = features + trainHeads + setScoreWeight */
export type TrainEnsemble = (training: EnsembleTraining) => Promise<HeadsResult>
/** ts/training/features.ts: cachePairFeatures */
export type CachePairFeatures = (
  model: NativeModel,
  pairs: TokenPairs,
  options: { batchTokens: number; signal?: AbortSignal },
) => Promise<PairFeatures>
