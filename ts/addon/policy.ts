import { given } from './call.js'
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
import { checkList, fromTokenRows, splitRows, type TokenIds, toTokenRows, toWholeNumbers } from './rows.js'

/** How responses are drawn. */
export interface SamplingOptions {
  /** Tokens of a response, at most. */
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

/**
 * A causal language model, with or without a value head, from a Hugging Face (or TRL) folder.
 *
 * @example
 * ```ts
 * import { Policy, Tokenizer } from 'prudent'
 *
 * const tokenizer = await Tokenizer.load('policy')
 * await using policy = await Policy.load('policy')
 * const ids = await tokenizer.encodeBatch(['the good', 'a'])
 * const responses = await policy.generate({ ids, maxNewTokens: 5, temperature: 0.7, seed: 1 })
 * console.log(responses.length, responses[0].length <= 5) // 2 true
 * // One log-probability a token after the first.
 * const logprobs = await policy.logprobs({ ids })
 * console.log(logprobs[0].length === ids[0].length - 1) // true
 * ```
 */
export class Policy extends Model {
  /**
   * Opens a folder; weights are mapped where their dtype is the one asked for.
   * @throws E_NOT_BUILT, E_NOT_FOUND, E_CORRUPT_FILE, E_MISSING_TENSOR, E_UNSUPPORTED, E_DEVICE, E_OUT_OF_MEMORY, E_CANCELLED
   */
  static async load(folder: string, options?: ModelOptions): Promise<Policy> {
    return new Policy(await loadNativeModel(folder, options, { task: 'causal-lm' }))
  }

  /**
   * One response per prompt, EOS kept when it was drawn.
   * @throws E_TOO_LONG when a prompt and its new tokens exceed the model's positions; E_RANGE, E_SHAPE, E_TYPE naming the argument; E_BUSY, E_CANCELLED
   */
  async generate(
    input: { ids: readonly TokenIds[] } & SamplingOptions,
    options?: BatchedCallOptions,
  ): Promise<Int32Array[]> {
    const { ids, ...sampling } = input ?? {}
    const prompts = toTokenRows(ids, 'ids')
    if (prompts.lengths.length === 0) return []
    const parsed = generateOptions(sampling, this.info.eosTokenIds, options)
    return fromTokenRows(await this.call(options, (native, call) => native.generate(prompts, parsed, call)))
  }

  /**
   * Natural log-probability of every token after the first of each row.
   * @throws E_RANGE, E_SHAPE, E_TOO_LONG naming the row; E_BUSY, E_CANCELLED
   */
  async logprobs(input: { ids: readonly TokenIds[] }, options?: PrefixCallOptions): Promise<Float32Array[]> {
    const rows = toTokenRows(input?.ids, 'ids')
    if (rows.lengths.length === 0) return []
    const values = await this.call(options, (native, call) => native.logprobs(rows, prefixOptionsOf(options), call))
    return splitRows(
      values,
      rows.lengths.map((length) => length - 1),
    )
  }

  /** A value head as TRL's: Linear(hidden, 1) with PyTorch's default initialisation. PPO needs one. E_BUSY while a trainer of the weights is open. */
  addValueHead(seed = 0): Promise<void> {
    return this.call(undefined, (native) => native.addValueHead(seed))
  }

  /** A copy with weights of its own: the frozen reference of PPO, say. */
  async clone(): Promise<Policy> {
    return new Policy(await this.call(undefined, (native) => native.clone()))
  }

  /**
   * KL(this || reference) of each row in nats, exact over the vocabulary, summed over the tokens after the prompt.
   * ids: prompt + response; promptLengths[row] >= 1.
   * @throws E_SHAPE when the vocabularies differ; E_RANGE naming the prompt length or the token; E_TOO_LONG, E_CANCELLED
   */
  async exactKl(
    reference: Policy,
    input: { ids: readonly TokenIds[]; promptLengths: ArrayLike<number> },
    options?: BatchedCallOptions,
  ): Promise<Float32Array> {
    const rows = toTokenRows(input?.ids, 'ids')
    const promptLengths = toWholeNumbers(input.promptLengths, 'promptLengths')
    return this.call(options, (native, call) =>
      loadAddon().exactKl(native, reference?.native, rows, promptLengths, batchOf(options), call),
    )
  }
}

export function generateOptions(
  sampling: SamplingOptions,
  eosTokenIds: readonly number[],
  options: { batchTokens?: number } | undefined,
): GenerateOptions {
  const { rowKeys, ...rest } = sampling
  const eos = checkList(sampling.eosTokenIds ?? eosTokenIds, 'eosTokenIds', 'token ids')
  return {
    ...{ greedy: false, temperature: 1, topK: 0, topP: 1, seed: 0 },
    ...given(rest),
    ...batchOf(options),
    eosTokenIds: Array.from(eos),
    ...(rowKeys === undefined ? {} : { rowKeys: Float64Array.from(checkList(rowKeys, 'rowKeys', 'numbers')) }),
  }
}
