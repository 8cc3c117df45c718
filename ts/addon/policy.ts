import { loadAddon } from './load.js'
import {
  type BatchedCallOptions,
  batchOf,
  loadNativeModel,
  Model,
  type ModelOptions,
  type PrefixCallOptions,
  prefixOptionsOf,
} from './model.js'
import type { GenerateOptions } from './native.js'
import { fromTokenRows, splitRows, type TokenIds, toTokenRows } from './rows.js'

export interface SamplingOptions {
  maxNewTokens: number
  /** EOS is not drawn before this many tokens (default 0). */
  minNewTokens?: number
  /** Default: those of the model. */
  eosTokenIds?: readonly number[]
  /** Take the likeliest token (default false); the next four are not used then. */
  greedy?: boolean
  /** Default 1. */
  temperature?: number
  /** 0 (default): off. */
  topK?: number
  /** 1 (default): off. */
  topP?: number
  /** Default 0. */
  seed?: number
  /** One key a row (default 0, 1, 2 …): a row's random numbers depend on (seed, key, position) alone, not on its batch. */
  rowKeys?: ArrayLike<number>
}

/** A causal language model, with or without a value head, from a Hugging Face (or TRL) folder. */
export class Policy extends Model {
  static async load(folder: string, options: ModelOptions = {}): Promise<Policy> {
    return new Policy(await loadNativeModel(folder, options, { task: 'causal-lm' }))
  }

  /**
   * One response per prompt, EOS kept when it was drawn.
   * @throws E_TOO_LONG when a prompt and its new tokens exceed the model's positions
   */
  async generate(
    input: { ids: readonly TokenIds[] } & SamplingOptions,
    options?: BatchedCallOptions,
  ): Promise<Int32Array[]> {
    const { ids, ...sampling } = input
    const prompts = toTokenRows(ids, 'ids')
    if (prompts.lengths.length === 0) return []
    const parsed = generateOptions(sampling, this.info.eosTokenIds, options)
    return fromTokenRows(await this.call(options, (native, call) => native.generate(prompts, parsed, call)))
  }

  /** Natural log-probability of every token after the first of each row. */
  async logprobs(input: { ids: readonly TokenIds[] }, options?: PrefixCallOptions): Promise<Float32Array[]> {
    const rows = toTokenRows(input.ids, 'ids')
    if (rows.lengths.length === 0) return []
    const values = await this.call(options, (native, call) => native.logprobs(rows, prefixOptionsOf(options), call))
    return splitRows(
      values,
      rows.lengths.map((length) => length - 1),
    )
  }

  /** A value head as TRL's: Linear(hidden, 1) with PyTorch's default initialisation. PPO needs one. */
  addValueHead(seed = 0): Promise<void> {
    return this.call(undefined, (native) => native.addValueHead(seed))
  }

  async clone(): Promise<Policy> {
    return new Policy(await this.call(undefined, (native) => native.clone()))
  }

  /**
   * KL(this || reference) of each row in nats, exact over the vocabulary, summed over the tokens after the prompt.
   * ids: prompt + response; promptLengths[row] >= 1.
   */
  async exactKl(
    reference: Policy,
    input: { ids: readonly TokenIds[]; promptLengths: ArrayLike<number> },
    options?: BatchedCallOptions,
  ): Promise<Float32Array> {
    const rows = toTokenRows(input.ids, 'ids')
    const promptLengths = Int32Array.from(input.promptLengths)
    return this.call(options, (native, call) =>
      loadAddon().exactKl(native, reference.native, rows, promptLengths, batchOf(options), call),
    )
  }
}

export function generateOptions(
  sampling: SamplingOptions,
  eosTokenIds: readonly number[],
  options: { batchTokens?: number } | undefined,
): GenerateOptions {
  const { rowKeys, ...given } = sampling
  return {
    ...{ greedy: false, temperature: 1, topK: 0, topP: 1, seed: 0 },
    ...given,
    ...batchOf(options),
    eosTokenIds: [...(sampling.eosTokenIds ?? eosTokenIds)],
    ...(rowKeys === undefined ? {} : { rowKeys: Float64Array.from(rowKeys) }),
  }
}
