/** Trainers that take one optimiser step a call: language model, reward model, heads. Conventions: ../native.ts. */
import type { NativeCall, TokenRows } from './calls.js'
import type { NativeProcessGroup } from './process-group.js'

/** AdamW (Loshchilov and Hutter 2019). Defaults: beta1 0.9, beta2 0.999, eps 1e-8, weightDecay 0. */
export interface AdamwOptions {
  beta1?: number
  beta2?: number
  eps?: number
  weightDecay?: number
  /** 'matrices' (default): neither biases nor norm gains, as the Hugging Face Trainer; 'all': as torch.optim.AdamW by itself. */
  weightDecayScope?: 'matrices' | 'all'
  /** Clip the global gradient norm; 0 or absent: off. */
  maxGradNorm?: number
  /**
   * Folder for a nameless file that holds the moments, and the master weights of bfloat16 parameters (CPU only): 8 or 12 bytes a
   * parameter of disk instead of memory. Absent or empty: memory.
   */
  stateFolder?: string
  /** The ranks that train together; each is given the whole batch and works on its share of it. */
  group?: NativeProcessGroup | undefined
  /**
   * With a group: each rank keeps moments and master weights of its share of the parameters (ZeRO-1). All ranks then call `saveState`,
   * those that do not write with an empty name. Default false.
   */
  shardStates?: boolean
}

/** Trainer state (optimiser moments, step count, RNG): one safetensors file; bit-exact resume on the same device and threads. */
export interface NativeTrainer {
  /** With `sync: false` it is left to the caller to sync the file to the disk. */
  saveState(file: string, options?: { sync?: boolean }): Promise<void>
  loadState(file: string): Promise<void>
  dispose(): Promise<void>
}

export interface LanguageModelTrainerOptions extends AdamwOptions {
  /** Tokens in one micro-batch; gradients are accumulated over micro-batches. */
  batchTokens: number
  /** Keep the inputs of blocks alone and run the blocks again in the backward: same gradients, less memory; default false. */
  activationCheckpointing?: boolean
  /** MiB, with it: as many of the last blocks as fit keep their activations; default: what one block takes. */
  activationMemory?: number
  /**
   * Each parameter is updated inside the backward and its gradient dropped at once, so that gradients never stand side by side; default
   * false. With `maxGradNorm` the forward and backward run twice, first to measure. Not with a group.
   */
  updateInBackward?: boolean
}
export interface RewardTrainerOptions extends LanguageModelTrainerOptions {
  /** What both sides of a pair have in common at their beginning is computed once; default true. */
  sharePrefixes?: boolean
}
export interface NativeLanguageModelTrainer extends NativeTrainer {
  /** One optimiser step on next-token cross-entropy over all given rows. loss is nats per predicted token. */
  step(
    rows: TokenRows,
    options: { lr: number },
    call?: NativeCall,
  ): Promise<{ loss: number; gradNorm: number; tokens: number }>
}

export interface NativeRewardTrainer extends NativeTrainer {
  /** Full fine-tune Bradley-Terry step: mean over pairs of -ln sigmoid(chosen - rejected), summed over heads. */
  step(
    chosen: TokenRows,
    rejected: TokenRows,
    options: { lr: number },
    call?: NativeCall,
  ): Promise<{
    loss: number
    accuracy: number
    lossPerHead: Float32Array
    accuracyPerHead: Float32Array
    gradNorm: number
    tokens: number
    /** Of these, what the forwards computed: a pair's common prefix counts once. */
    computedTokens: number
  }>
}

/** Settings of a `HeadsTrainer`. */
export interface HeadsTrainerOptions extends AdamwOptions {
  heads: number
  /** Initial heads [heads, hidden]. */
  initial: Float32Array
  /** Strength of a ridge toward the initial heads (anchored ensembles), added per head as anchor / 2 * |h - h0|^2; default 0. */
  anchor?: number
}
export interface NativeHeadsTrainer extends NativeTrainer {
  /**
   * One optimiser step of all heads (independent losses). chosen/rejected: row numbers of the cache, [batch] shared by all heads or
   * [heads, batch] row-major when `perHead`.
   */
  step(
    chosen: Int32Array,
    rejected: Int32Array,
    options: { lr: number; perHead: boolean },
    call?: NativeCall,
  ): Promise<{
    lossPerHead: Float32Array
    accuracyPerHead: Float32Array
    gradNorm: number
    gradNormPerHead: Float32Array
  }>
  /** [heads, hidden], after the steps asked for so far. */
  weights(call?: NativeCall): Promise<Float32Array>
}
