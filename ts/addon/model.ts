import { argumentError } from '../errors.js'
import { type CallOptions, callNative, callNativeSync } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import type { Dtype, LoadModelOptions, ModelInfo, NativeModel, PrefixOptions } from './native.js'

/** Tokens of one forward when nothing else is asked for. */
export const DEFAULT_BATCH_TOKENS = 8192

/** How a model is loaded. */
export interface ModelOptions extends CallOptions {
  /** 'auto' (default): bfloat16 only where the device multiplies it natively (`systemInfo().cpu.bf16`), else float32. */
  dtype?: Dtype | 'auto'
  /** 'cpu' (default), 'cuda' or 'cuda:N'. */
  device?: string
}

/** Of calls that run forwards. */
export interface BatchedCallOptions extends CallOptions {
  /** Upper bound of tokens in one forward (default 8192); memory grows with it, results agree within rounding. */
  batchTokens?: number
}

/** Of forwards that may share what rows begin with. */
export interface PrefixCallOptions extends BatchedCallOptions {
  /**
   * What rows have in common at their beginning (a prompt, a chat template's constant part) is computed once (default true); results
   * agree within rounding.
   */
  sharePrefixes?: boolean
}

/** How a model is written. */
export interface SaveOptions extends CallOptions {
  /** Weights above this many bytes are split into shards (default 5e9). */
  maxShardBytes?: number
}

/** What reward models and policies have in common. */
export abstract class Model extends Handle<NativeModel> {
  /** Architecture, sizes, dtype, device, special token ids. */
  get info(): ModelInfo {
    return callNativeSync(() => this.native.info())
  }

  /**
   * Writes a Hugging Face folder (config.json, safetensors) beside and renames it. Tokenizer files are not part of it.
   * @throws E_IO, E_DISPOSED, E_CANCELLED
   */
  save(folder: string, options?: SaveOptions): Promise<void> {
    const { maxShardBytes } = options ?? {}
    return this.call(options, (native, call) =>
      native.save(folder, maxShardBytes === undefined ? {} : { maxShardBytes }, call),
    )
  }
}

/** @throws E_NOT_FOUND, E_CORRUPT_FILE, E_MISSING_TENSOR, E_UNSUPPORTED, E_DEVICE, E_OUT_OF_MEMORY */
export function loadNativeModel(
  folder: string,
  options: ModelOptions | undefined,
  rest: Omit<LoadModelOptions, 'dtype' | 'device'>,
): Promise<NativeModel> {
  const { dtype = 'auto', device = 'cpu' } = options ?? {}
  return callNative(options, (call) => loadAddon().loadModel(folder, { ...rest, dtype, device }, call))
}

export function batchOf(options: { batchTokens?: number } | undefined): { batchTokens: number } {
  const batchTokens = options?.batchTokens ?? DEFAULT_BATCH_TOKENS
  if (!Number.isInteger(batchTokens) || batchTokens < 1)
    throw argumentError('E_RANGE', 'batchTokens', 'an integer >= 1', String(batchTokens))
  return { batchTokens }
}

export function prefixOptionsOf(options: PrefixCallOptions | undefined): PrefixOptions {
  return { ...batchOf(options), sharePrefixes: options?.sharePrefixes ?? true }
}
