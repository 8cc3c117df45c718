/** Sizes that follow from a model's config.json alone: parameters, and floating-point operations of a forward. */
import { argumentError } from '../../errors.js'

export interface Shape {
  family: 'gemma' | 'llama' | 'gpt2'
  layers: number
  hidden: number
  intermediate: number
  heads: number
  keyValueHeads: number
  headDim: number
  vocabulary: number
  /** Learned positions; 0 where positions are rotary. */
  positions: number
}

type ModelConfig = Readonly<Record<string, unknown>>

/** @throws E_CONFIG for a family that is not supported or a size that is not there */
export function shapeOf(config: ModelConfig, where: string): Shape {
  const read = (name: string, otherwise?: number): number => {
    const value = config[name] ?? otherwise
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value
    throw argumentError('E_CONFIG', `${where}.${name}`, 'an integer >= 1', String(config[name] ?? 'nothing'))
  }
  const family = String(config.model_type)
  if (family === 'gpt2') {
    const hidden = read('n_embd')
    const heads = read('n_head')
    const sizes = { layers: read('n_layer'), hidden, heads, keyValueHeads: heads, headDim: hidden / heads }
    const intermediate = read('n_inner', 4 * hidden)
    return { family, ...sizes, intermediate, vocabulary: read('vocab_size'), positions: read('n_positions') }
  }
  if (family !== 'gemma' && family !== 'llama')
    throw argumentError('E_CONFIG', `${where}.model_type`, 'gemma, llama or gpt2', family)
  const [hidden, heads] = [read('hidden_size'), read('num_attention_heads')]
  return {
    family,
    layers: read('num_hidden_layers'),
    hidden,
    intermediate: read('intermediate_size'),
    heads,
    keyValueHeads: read('num_key_value_heads', heads),
    headDim: read('head_dim', hidden / heads),
    vocabulary: read('vocab_size'),
    positions: 0,
  }
}

/** Entries of the matrices of one block: what every token is multiplied with. */
function blockMatrices({ family, hidden, intermediate, heads, keyValueHeads, headDim }: Shape): number {
  const attention = hidden * headDim * (2 * heads + 2 * keyValueHeads)
  return attention + (family === 'gpt2' ? 2 : 3) * hidden * intermediate
}

/** Parameters of the decoder with its token embeddings and without any head of its own: tied language models, sequence classifiers. */
export function baseParameters(shape: Shape): number {
  const { family, layers, hidden, intermediate, vocabulary, positions } = shape
  // GPT-2 has a bias beside every matrix, and norms with gain and bias.
  const small = family === 'gpt2' ? 4 * hidden + (3 * hidden + hidden + intermediate + hidden) : 2 * hidden
  const lastNorm = family === 'gpt2' ? 2 * hidden : hidden
  return (vocabulary + positions) * hidden + layers * (blockMatrices(shape) + small) + lastNorm
}

/**
 * Multiplications and additions of a forward over `sequences` of `length` tokens each, causal attention included.
 * @param logitRows positions of a sequence whose logits are taken
 */
export function forwardFlops(shape: Shape, sequences: number, length: number, logitRows = 0): number {
  const { layers, heads, headDim, hidden, vocabulary } = shape
  const matrices = 2 * layers * blockMatrices(shape) * length
  const attention = 4 * layers * heads * headDim * ((length * (length + 1)) / 2)
  return sequences * (matrices + attention + 2 * hidden * vocabulary * logitRows)
}

/** Bytes of activations that a backward over `tokens` keeps: one row a block, and everything of the block at work. */
export function checkpointedActivations(
  { layers, hidden, intermediate }: Shape,
  tokens: number,
  bytes: number,
): number {
  return tokens * bytes * (layers * hidden + 8 * hidden + 3 * intermediate)
}
