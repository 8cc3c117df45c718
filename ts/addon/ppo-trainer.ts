import { type CallOptions, callNative, callNativeSync, given } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import { DEFAULT_BATCH_TOKENS } from './model.js'
import type { NativePpoTrainer, NativeRollout, PpoStats, PpoTrainerOptions } from './native.js'
import { generateOptions, type Policy, type SamplingOptions } from './policy.js'
import { fromTokenRows, type TokenIds, toTokenRows } from './rows.js'
import { Trainer } from './trainers.js'

/**
 * Settings of `PpoTrainer.create` where nothing is given: classic TRL's (0.8 to 0.11).
 *
 * @example
 * ```ts
 * import { PPO_DEFAULTS } from 'prudent'
 *
 * console.log(PPO_DEFAULTS.ppoEpochs, PPO_DEFAULTS.clipRange) // 4 0.2
 * ```
 */
export const PPO_DEFAULTS: PpoTrainerOptions = {
  ppoEpochs: 4,
  miniBatchSize: 128,
  microBatchTokens: DEFAULT_BATCH_TOKENS,
  gamma: 1,
  lambda: 0.95,
  clipRange: 0.2,
  clipRangeValue: 0.2,
  vfCoef: 0.1,
  ratioThreshold: 10,
  whitenAdvantages: true,
  whitenRewards: false,
  klEstimator: 'kl',
  oldLogprobs: 'forward',
  shareForward: true,
  sharePrefixes: true,
  earlyStopping: false,
  targetKl: 1,
}

/**
 * Prompts, sampled responses, and what policy and reference said of them at that time. The per-token values stay native.
 *
 * @example
 * ```ts
 * import { Policy, PpoTrainer, type Rollout } from 'prudent'
 *
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using reference = await policy.clone()
 * await policy.addValueHead()
 * await using trainer = await PpoTrainer.create(policy, reference, { miniBatchSize: 2 })
 * await using rollout: Rollout = await trainer.rollout({ ids: [[2, 11], [2, 12]], maxNewTokens: 4, exactKl: true })
 * console.log(rollout.responses.length) // 2
 * // The policy is still its reference.
 * console.log(Math.abs(rollout.exactKlSums[0]) < 1e-4) // true
 * ```
 */
export class Rollout extends Handle<NativeRollout> {
  /** @internal `PpoTrainer.rollout` makes them. */
  constructor(native: NativeRollout) {
    super(native)
  }

  /** One row a prompt, EOS kept when it was drawn. */
  get responses(): Int32Array[] {
    return callNativeSync(() => fromTokenRows(this.native.responses))
  }

  /** Per row: sum over response tokens of logprob - ref logprob, nats. */
  get klSums(): Float32Array {
    return callNativeSync(() => this.native.klSums)
  }

  /** Per row: KL(policy || reference) exact over the vocabulary, summed over tokens, nats; empty unless asked for. */
  get exactKlSums(): Float32Array {
    return callNativeSync(() => this.native.exactKlSums)
  }
}

/**
 * PPO as classic TRL does it, with a KL weight per sample: beta, beta * sigma_i or beta * sigma_i^2 (section 5 of the paper).
 *
 * @example
 * ```ts
 * import { Policy, PpoTrainer } from 'prudent'
 *
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using reference = await policy.clone()
 * await policy.addValueHead()
 * await using trainer = await PpoTrainer.create(policy, reference, { miniBatchSize: 2, ppoEpochs: 1 })
 * await using rollout = await trainer.rollout({ ids: [[2, 11], [2, 12]], maxNewTokens: 4, seed: 1 })
 * // Short responses are better; the second may move half as far from the reference.
 * const scores = Float32Array.from(rollout.responses, (response) => -response.length)
 * const klWeights = Float32Array.of(0.1, 0.2)
 * const stats = await trainer.step(rollout, { scores, klWeights, seed: 1 }, { lr: 1e-5 })
 * console.log(Number.isFinite(stats['ppo/loss/total'])) // true
 * ```
 */
export class PpoTrainer extends Trainer<NativePpoTrainer> {
  private readonly policy: Policy

  private constructor(native: NativePpoTrainer, policy: Policy) {
    super(native)
    this.policy = policy
  }

  /**
   * Trains `policy` in place; it needs a value head (`addValueHead`) and must not be the reference itself (`clone`).
   * @throws E_NO_HEAD, E_SHAPE when the vocabularies differ, E_RANGE
   */
  static async create(policy: Policy, reference: Policy, options?: Partial<PpoTrainerOptions>): Promise<PpoTrainer> {
    const settings = { ...PPO_DEFAULTS, ...given(options ?? {}) }
    const native = await callNative(undefined, () =>
      loadAddon().createPpoTrainer(policy?.native, reference?.native, settings),
    )
    return new PpoTrainer(native, policy)
  }

  /**
   * Samples responses, then takes log-probs, values and reference log-probs of them in evaluation mode.
   * @throws E_TOO_LONG, E_RANGE, E_SHAPE, E_TYPE naming the argument; E_NON_FINITE, E_BUSY, E_DISPOSED, E_CANCELLED
   */
  async rollout(
    input: { ids: readonly TokenIds[]; exactKl?: boolean } & SamplingOptions,
    options?: CallOptions & { batchTokens?: number },
  ): Promise<Rollout> {
    const { ids, exactKl = false, ...sampling } = input ?? {}
    const prompts = toTokenRows(ids, 'ids')
    const parsed = { ...generateOptions(sampling, this.policy.info.eosTokenIds, options), exactKl }
    return new Rollout(await this.call(options, (native, call) => native.rollout(prompts, parsed, call)))
  }

  /**
   * One PPO step: advantages once, then ppoEpochs x mini-batches of updates. scores [rows]; klWeights [rows], each >= 0; `seed`
   * drives the permutations. Statistics come under classic TRL's names.
   * @throws E_SHAPE, E_RANGE, E_NON_FINITE, E_OUT_OF_MEMORY, E_DISPOSED, E_CANCELLED
   */
  step(
    rollout: Rollout,
    input: { scores: Float32Array; klWeights: Float32Array; seed: number },
    options: CallOptions & { lr: number },
  ): Promise<PpoStats> {
    return this.call(options, (native, call) => native.step(rollout?.native, { ...input, lr: options?.lr }, call))
  }
}
