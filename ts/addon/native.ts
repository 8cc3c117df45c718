/**
 * The whole native surface, typed in one place: this file and, by subject, the folder beside it. A test holds the addon's real export list against it.
 * Conventions: token ids and lengths go in as Int32Array (rows laid end to end), scores and statistics come out as
 * Float32Array or plain objects. Every method that computes returns a Promise, copies its inputs at the call, and takes
 * `call` last: a cancel token and a progress callback. Errors are plain Errors with { code, argument, expected, received }.
 */
import type { NativeCall, NativeCancelToken, TokenRows } from './native/calls.js'
import type { BatchOptions, LoadModelOptions, NativeFeatureCache, NativeModel } from './native/models.js'
import type { NativeOps } from './native/ops.js'
import type { NativePpoTrainer, PpoTrainerOptions } from './native/ppo.js'
import type { NativeProcessGroup, ProcessGroupOptions } from './native/process-group.js'
import type {
  HeadsTrainerOptions,
  LanguageModelTrainerOptions,
  NativeHeadsTrainer,
  NativeLanguageModelTrainer,
  NativeRewardTrainer,
  RewardTrainerOptions,
} from './native/trainers.js'

export type * from './native/calls.js'
export type * from './native/models.js'
export type * from './native/ops.js'
export type * from './native/ppo.js'
export type * from './native/process-group.js'
export type * from './native/trainers.js'

/** What this build of prudent found on this machine. */
export interface SystemInfo {
  prudent: string
  libtorch: string
  libtorchBuilt: string
  napi: number
  cpu: { capability: 'baseline' | 'avx2' | 'avx512'; bf16: boolean; model: string; cores: number }
  threads: { lanes: number; threadsPerLane: number }
  cuda: { built: boolean; devices: { index: number; name: string; memoryBytes: number; capability: string }[] }
  /** Bit-exact runs on CUDA: see configureExecutor. */
  deterministic: boolean
  distributed: { gloo: boolean; nccl: boolean }
}

export interface NativeAddon {
  systemInfo(): SystemInfo
  /**
   * CPU executor: `lanes` jobs at once, each with `threadsPerLane` threads. Only while nothing runs (E_BUSY).
   * `deterministic`: left as it is when absent; false at first, or true where PRUDENT_DETERMINISTIC is 1.
   */
  configureExecutor(options: { lanes: number; threadsPerLane: number; deterministic?: boolean }): void
  /** For the process's 'exit' event: cancels what computes, and waits for it half a second at most. Nothing computes afterwards. */
  prepareExit(): void
  createCancelToken(): NativeCancelToken
  ops: NativeOps
  loadModel(folder: string, options: LoadModelOptions, call?: NativeCall): Promise<NativeModel>
  /** Random weights from the text of a config.json. */
  createModel(configJson: string, options: LoadModelOptions, call?: NativeCall): Promise<NativeModel>
  /** Features that come from elsewhere, [rows, hidden] row-major. */
  createFeatureCache(values: Float32Array, rows: number, hidden: number, call?: NativeCall): Promise<NativeFeatureCache>
  loadFeatureCache(file: string, call?: NativeCall): Promise<NativeFeatureCache>
  createLanguageModelTrainer(
    model: NativeModel,
    options: LanguageModelTrainerOptions,
  ): Promise<NativeLanguageModelTrainer>
  createRewardTrainer(model: NativeModel, options: RewardTrainerOptions): Promise<NativeRewardTrainer>
  createHeadsTrainer(features: NativeFeatureCache, options: HeadsTrainerOptions): Promise<NativeHeadsTrainer>
  createPpoTrainer(policy: NativeModel, reference: NativeModel, options: PpoTrainerOptions): Promise<NativePpoTrainer>
  /** Rejects with E_DISTRIBUTED when not all ranks have met in time. */
  createProcessGroup(options: ProcessGroupOptions): Promise<NativeProcessGroup>
  /** Exact KL(policy || reference) per row, summed over response tokens and the vocabulary. rows = prompt + response. */
  exactKl(
    policy: NativeModel,
    reference: NativeModel,
    rows: TokenRows,
    promptLengths: Int32Array,
    options: BatchOptions,
    call?: NativeCall,
  ): Promise<Float32Array>
}
