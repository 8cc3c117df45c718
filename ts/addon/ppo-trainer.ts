import { type CallOptions, callNative } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import { DEFAULT_BATCH_TOKENS } from './model.js'
import type { NativePpoTrainer, NativeRollout, PpoStats, PpoTrainerOptions } from './native.js'
import { generateOptions, type Policy, type SamplingOptions } from './policy.js'
import { fromTokenRows, type TokenIds, toTokenRows } from './rows.js'
import { Trainer } from './trainers.js'

/** Classic TRL's (0.8 to 0.11). */
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

/** Prompts, sampled responses, and what policy and reference said of them at that time. The per-token values stay native. */
export class Rollout extends Handle<NativeRollout> {
  constructor(native: NativeRollout) {
    super(native)
  }

  /** One row a prompt, EOS kept when it was drawn. */
  get responses(): Int32Array[] {
    return fromTokenRows(this.native.responses)
  }

  /** Per row: sum over response tokens of logprob - ref logprob, nats. */
  get klSums(): Float32Array {
    return this.native.klSums
  }

  /** Per row: KL(policy || reference) exact over the vocabulary, summed over tokens, nats; empty unless asked for. */
  get exactKlSums(): Float32Array {
    return this.native.exactKlSums
  }
}

/** PPO as classic TRL does it, with a KL weight per sample: beta, beta * sigma_i or beta * sigma_i^2 (section 5 of the paper). */
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
  static async create(
    policy: Policy,
    reference: Policy,
    options: Partial<PpoTrainerOptions> = {},
  ): Promise<PpoTrainer> {
    const given = { ...PPO_DEFAULTS, ...options }
    const native = await callNative(undefined, () =>
      loadAddon().createPpoTrainer(policy.native, reference.native, given),
    )
    return new PpoTrainer(native, policy)
  }

  /** Samples responses, then takes log-probs, values and reference log-probs of them in evaluation mode. */
  async rollout(
    input: { ids: readonly TokenIds[]; exactKl?: boolean } & SamplingOptions,
    options?: CallOptions & { batchTokens?: number },
  ): Promise<Rollout> {
    const { ids, exactKl = false, ...sampling } = input
    const prompts = toTokenRows(ids, 'ids')
    const parsed = { ...generateOptions(sampling, this.policy.info.eosTokenIds, options), exactKl }
    return new Rollout(await this.call(options, (native, call) => native.rollout(prompts, parsed, call)))
  }

  /**
   * One PPO step: advantages once, then ppoEpochs x mini-batches of updates. scores [rows]; klWeights [rows], each >= 0; `seed`
   * drives the permutations. Statistics come under classic TRL's names.
   */
  step(
    rollout: Rollout,
    input: { scores: Float32Array; klWeights: Float32Array; seed: number },
    options: CallOptions & { lr: number },
  ): Promise<PpoStats> {
    return this.call(options, (native, call) => native.step(rollout.native, { ...input, lr: options.lr }, call))
  }
}
