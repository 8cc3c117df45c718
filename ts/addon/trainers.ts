import { type CallOptions, callNative, given } from './call.js'
import type { FeatureCache } from './feature-cache.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import { DEFAULT_BATCH_TOKENS } from './model.js'
import type {
  AdamwOptions,
  HeadsTrainerOptions,
  NativeHeadsTrainer,
  NativeLanguageModelTrainer,
  NativeRewardTrainer,
  NativeTrainer,
} from './native.js'
import type { Policy } from './policy.js'
import type { RewardModel } from './reward-model.js'
import { type TokenIds, toTokenRows } from './rows.js'

/** Of one optimiser step. */
export interface StepOptions extends CallOptions {
  /** Learning rate of this step. */
  lr: number
}

/** AdamW; one micro-batch holds at most `batchTokens` tokens (default 8192), gradients add up over micro-batches. */
export interface TrainerOptions extends AdamwOptions {
  batchTokens?: number
  /** Keep the inputs of blocks alone and run the blocks again in the backward: same gradients, less memory (default false). */
  activationCheckpointing?: boolean
  /**
   * MiB for the blocks that are not run again, with `activationCheckpointing`: as many of the last as fit keep their activations.
   * Default: what one block takes, since running one again takes that anyway.
   */
  activationMemory?: number
  /** Update each parameter inside the backward and drop its gradient at once: with `maxGradNorm` two passes (default false). */
  updateInBackward?: boolean
}

/** Settings of a `RewardTrainer`. */
export interface RewardTrainerOptions extends TrainerOptions {
  /** What both sides of a pair have in common at their beginning is computed once (default true). */
  sharePrefixes?: boolean
}

/**
 * One call of `step` is one optimiser step, and a transaction: cancelled or failed before the update it leaves weights, optimiser
 * and random numbers as they were; an update once begun finishes. A trainer and its model share one line of calls.
 */
export abstract class Trainer<Native extends NativeTrainer> extends Handle<Native> {
  /** Optimiser moments and step count in one safetensors file; resume is bit-exact on the same device and threads. */
  saveState(file: string): Promise<void> {
    return this.call(undefined, (native) => native.saveState(file))
  }

  /** @throws E_CORRUPT_FILE, E_MISSING_TENSOR, E_SHAPE when the file is of other parameters; nothing changes then */
  loadState(file: string): Promise<void> {
    return this.call(undefined, (native) => native.loadState(file))
  }
}

/**
 * Next-token cross-entropy on a policy's weights, in place.
 *
 * @example
 * ```ts
 * import { LanguageModelTrainer, Policy } from 'prudent'
 *
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using trainer = await LanguageModelTrainer.create(policy, { maxGradNorm: 1 })
 * const ids = [[2, 11, 12, 1], [2, 20, 1]]
 * const first = await trainer.step({ ids }, { lr: 1e-3 })
 * const second = await trainer.step({ ids }, { lr: 1e-3 })
 * console.log(first.tokens, second.loss < first.loss) // 5 true
 * ```
 */
export class LanguageModelTrainer extends Trainer<NativeLanguageModelTrainer> {
  /**
   * Its weights are the policy's own.
   * @throws E_RANGE, E_TYPE naming the option; E_NOT_FOUND, E_IO (`stateFolder`), E_UNSUPPORTED, E_OUT_OF_MEMORY
   */
  static async create(model: Policy, options?: TrainerOptions): Promise<LanguageModelTrainer> {
    const settings = { batchTokens: DEFAULT_BATCH_TOKENS, ...given(options ?? {}) }
    return new LanguageModelTrainer(
      await callNative(undefined, () => loadAddon().createLanguageModelTrainer(model?.native, settings)),
    )
  }

  /**
   * loss: nats per predicted token over all rows, before the update; gradNorm before clipping; tokens: those predicted.
   * @throws E_SHAPE, E_RANGE, E_TOO_LONG naming the row; E_NON_FINITE, E_OUT_OF_MEMORY, E_DISPOSED, E_CANCELLED
   */
  async step(
    input: { ids: readonly TokenIds[] },
    options: StepOptions,
  ): Promise<{ loss: number; gradNorm: number; tokens: number }> {
    const rows = toTokenRows(input?.ids, 'ids')
    return this.call(options, (native, call) => native.step(rows, { lr: options?.lr }, call))
  }
}

/**
 * Full fine-tune of a reward model on preference pairs (Bradley-Terry), in place.
 *
 * @example
 * ```ts
 * import { RewardModel, RewardTrainer } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model', { dtype: 'float32' })
 * await using trainer = await RewardTrainer.create(model, { weightDecay: 0.01 })
 * const pairs = { chosen: [[2, 11, 12]], rejected: [[2, 11, 13]] }
 * const first = await trainer.step(pairs, { lr: 1e-3 })
 * const second = await trainer.step(pairs, { lr: 1e-3 })
 * console.log(first.lossPerHead.length === model.heads, second.loss < first.loss) // true true
 * ```
 */
export class RewardTrainer extends Trainer<NativeRewardTrainer> {
  /**
   * Its weights are the model's own.
   * @throws E_RANGE, E_TYPE naming the option; E_NOT_FOUND, E_IO (`stateFolder`), E_UNSUPPORTED, E_OUT_OF_MEMORY
   */
  static async create(model: RewardModel, options?: RewardTrainerOptions): Promise<RewardTrainer> {
    const settings = { batchTokens: DEFAULT_BATCH_TOKENS, ...given(options ?? {}) }
    return new RewardTrainer(
      await callNative(undefined, () => loadAddon().createRewardTrainer(model?.native, settings)),
    )
  }

  /**
   * Row i of chosen is preferred to row i of rejected. loss: sum over heads of the mean over pairs of -ln sigmoid(chosen - rejected);
   * accuracy: share of pairs in the right order, mean over heads; lossPerHead, accuracyPerHead [heads].
   * @throws E_SHAPE, E_RANGE, E_TOO_LONG naming the row; E_NON_FINITE, E_OUT_OF_MEMORY, E_DISPOSED, E_CANCELLED
   */
  async step(
    input: { chosen: readonly TokenIds[]; rejected: readonly TokenIds[] },
    options: StepOptions,
  ): Promise<Awaited<ReturnType<NativeRewardTrainer['step']>>> {
    const chosen = toTokenRows(input?.chosen, 'chosen')
    const rejected = toTokenRows(input?.rejected, 'rejected')
    return this.call(options, (native, call) => native.step(chosen, rejected, { lr: options?.lr }, call))
  }
}

/**
 * n reward heads on cached features of a frozen base: independent losses, one fused step (section 4 of the paper).
 *
 * @example
 * ```ts
 * import { HeadsTrainer, RewardModel } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model', { dtype: 'float32' })
 * await using features = await model.features({ ids: [[2, 11, 12], [2, 11, 13]] })
 * const heads = 4
 * const initial = Float32Array.from({ length: heads * features.hidden }, (_, at) => Math.sin(at))
 * await using trainer = await HeadsTrainer.create(features, { heads, initial })
 * // Row 0 is preferred to row 1.
 * const step = await trainer.step({ chosen: Int32Array.of(0), rejected: Int32Array.of(1) }, { lr: 1e-2 })
 * console.log(step.lossPerHead.length) // 4
 * await model.setHeadWeights(await trainer.weights(), heads)
 * console.log(model.heads) // 4
 * ```
 */
export class HeadsTrainer extends Trainer<NativeHeadsTrainer> {
  /** @throws E_SHAPE when `initial` is not [heads, hidden], E_NON_FINITE when it is not finite; E_RANGE, E_TYPE naming the option */
  static async create(features: FeatureCache, options: HeadsTrainerOptions): Promise<HeadsTrainer> {
    return new HeadsTrainer(
      await callNative(undefined, () => loadAddon().createHeadsTrainer(features?.native, given(options ?? {}))),
    )
  }

  /**
   * chosen, rejected: row numbers of the cache, [batch] for all heads alike or, with perHead, [heads, batch] row-major (own order or
   * bootstrap sample of each head).
   * @throws E_SHAPE, E_RANGE (a row that the cache has not), E_NON_FINITE, E_DISPOSED, E_CANCELLED
   */
  async step(
    input: { chosen: Int32Array; rejected: Int32Array; perHead?: boolean },
    options: StepOptions,
  ): Promise<Awaited<ReturnType<NativeHeadsTrainer['step']>>> {
    const { chosen, rejected, perHead = false } = input ?? {}
    return this.call(options, (native, call) => native.step(chosen, rejected, { lr: options?.lr, perHead }, call))
  }

  /** [heads, hidden], row-major: what `RewardModel.setHeadWeights` takes. */
  weights(): Promise<Float32Array> {
    return this.call(undefined, (native, call) => native.weights(call))
  }
}
