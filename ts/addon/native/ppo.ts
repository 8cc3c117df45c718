/** PPO: rollouts and steps. Conventions: ../native.ts. */
import type { NativeCall, TokenRows } from './calls.js'
import type { GenerateOptions } from './models.js'
import type { AdamwOptions, NativeTrainer } from './trainers.js'

/** Per-token KL of d = logprob - ref logprob: d, |d|, d^2 / 2, exact over the vocabulary, e^-d - 1 + d. */
export type KlEstimator = 'kl' | 'abs' | 'mse' | 'full' | 'k3'
/** Settings of a `PpoTrainer`, under classic TRL's names; `PPO_DEFAULTS` has the values. */
export interface PpoTrainerOptions extends AdamwOptions {
  ppoEpochs: number
  miniBatchSize: number
  /** Rows of one forward/backward inside a mini-batch (gradients are accumulated). */
  microBatchTokens: number
  gamma: number
  lambda: number
  clipRange: number
  clipRangeValue: number
  vfCoef: number
  ratioThreshold: number
  whitenAdvantages: boolean
  whitenRewards: boolean
  klEstimator: KlEstimator
  /**
   * Where old log-probs and values come from: a forward over the finished responses, as classic TRL does it, or the sampling itself,
   * which saves that forward and agrees with it up to rounding (`ppo/policy/first_ratio_error`).
   */
  oldLogprobs: 'forward' | 'sampling'
  /**
   * A rollout that is one mini-batch and one micro-batch keeps its evaluation, graph included, for the first update of its step:
   * one forward less a step, for the activations of that batch held between the two. The numbers are the same bit by bit.
   */
  shareForward: boolean
  /**
   * What prompts have in common at their beginning is computed once in every forward and backward, where that saves a sixteenth of
   * the tokens; results agree within rounding. Default true.
   */
  sharePrefixes?: boolean
  earlyStopping: boolean
  targetKl: number
  /** As of the other trainers; default false. */
  activationCheckpointing?: boolean
  activationMemory?: number
  updateInBackward?: boolean
}
export interface RolloutOptions extends GenerateOptions {}

/** Statistics under classic TRL's names. */
export interface PpoStats {
  [name: string]: number
}
export interface NativeRollout {
  /** Responses, EOS kept when drawn. */
  responses: TokenRows
  /** Per row: sum over response tokens of logprob - ref logprob. */
  klSums: Float32Array
  /** Per row: KL summed over tokens, exact over the vocabulary; empty unless asked for. */
  exactKlSums: Float32Array
  generateSeconds: number
  forwardSeconds: number
  dispose(): Promise<void>
}
export interface NativePpoTrainer extends NativeTrainer {
  /** Generate responses, then old log-probs, values and reference log-probs in evaluation mode. */
  rollout(
    prompts: TokenRows,
    options: RolloutOptions & { exactKl?: boolean },
    call?: NativeCall,
  ): Promise<NativeRollout>
  /**
   * One PPO step on a rollout: advantages from scores and per-sample KL weights, then ppoEpochs x mini-batches. `seed` drives the
   * permutations. Cancel before the first update leaves everything as it was.
   */
  step(
    rollout: NativeRollout,
    options: { scores: Float32Array; klWeights: Float32Array; lr: number; seed: number },
    call?: NativeCall,
  ): Promise<PpoStats>
}
