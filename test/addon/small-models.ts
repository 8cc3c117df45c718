import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel, TokenRows } from '../../ts/addon/native.js'
import { toTokenRows } from '../../ts/addon/rows.js'

export const VOCAB = 101

export interface Size {
  hidden?: number
  layers?: number
  positions?: number
}

/** config.json of a Llama whose sizes are no round numbers. */
export function configJson({ hidden = 24, layers = 2, positions = 96 }: Size = {}): string {
  return JSON.stringify({
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: VOCAB,
    hidden_size: hidden,
    intermediate_size: hidden * 2 + 4,
    num_hidden_layers: layers,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: positions,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    hidden_act: 'silu',
    initializer_range: 0.2,
    tie_word_embeddings: false,
    bos_token_id: 1,
    eos_token_id: 2,
    torch_dtype: 'float32',
  })
}

export function createScorer(heads = 3, size: Size = {}): Promise<NativeModel> {
  const options = {
    task: 'sequence-classification',
    dtype: 'float32',
    device: 'cpu',
    numLabels: heads,
    allowNewHead: true,
    seed: 5,
  } as const
  return loadAddon().createModel(configJson(size), options)
}

export function createPolicy(size: Size = {}): Promise<NativeModel> {
  return loadAddon().createModel(configJson(size), { task: 'causal-lm', dtype: 'float32', device: 'cpu', seed: 7 })
}

/** Big enough that a call over `longRows()` takes some hundred milliseconds on an idle machine, in twenty micro-batches. */
export const LARGE: Size = { hidden: 128, layers: 2, positions: 256 }
export const SMALL_BATCH = { batchTokens: 512 }
export function longRows(count = 40): TokenRows {
  return rowsOf(Array.from({ length: count }, (_, row) => 200 + (row % 50)))
}

/** Rows of the given lengths with fixed pseudo-random ids. */
export function rowsOf(lengths: readonly number[]): TokenRows {
  let state = 12345
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return 3 + ((state >> 8) % (VOCAB - 3))
  }
  return toTokenRows(
    lengths.map((length) => Array.from({ length }, next)),
    'rows',
  )
}

/** The error that a promise rejects with. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; argument?: string; expected?: string; received?: string }> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('expected a rejection')
}
