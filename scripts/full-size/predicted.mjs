// Predicted resident memory of each stage, in bytes, from config.json alone. docs/full-size.md derives the terms.
import { itemsOf, tensorsOf } from './architectures.mjs'

const BF16 = 2
const FP32 = 4
/** Node, libtorch and the addon before any model is loaded. */
const PROGRAM = 250e6
/** Most that prudent keeps of packed weights (PRUDENT_PACKED_WEIGHTS). */
const PACKED = 1 << 30
/** Items of a parameter that are updated at once where the optimiser's state is mapped: two moments, a master copy. */
const WINDOW = 3 * FP32 * (8 << 20)

/** Linux maps 16 pages around one that is touched. */
const TOUCHED = 1 << 16

/** `tokens`: of one forward. `rows`: different tokens of the whole stage at most, whose rows of the embedding are read. */
export function predictedBytes(config, { stage, tokens, rows = tokens }) {
  const sizes = new Map(tensorsOf(config).map(([name, shape]) => [name, itemsOf(shape)]))
  const all = [...sizes.values()].reduce((sum, items) => sum + items, 0)
  const embedding = sizes.get('model.embed_tokens.weight')
  const head = sizes.get('lm_head.weight') ?? 0
  const blocks = all - embedding - head
  const width = config.hidden_size
  const block = blocks / config.num_hidden_layers
  // Hidden states, their norm, gate, up and product of one block.
  const forward =
    tokens * BF16 * (4 * width + 3 * config.intermediate_size) + Math.min(rows * TOUCHED, embedding * BF16)
  if (stage === 'load') return PROGRAM
  if (stage === 'score' || stage === 'features')
    return PROGRAM + blocks * BF16 + Math.min(PACKED, blocks * BF16) + forward
  if (stage === 'step') {
    // A private copy of what is updated; then either the embedding's gradient, or one block's gradients with its activations, which
    // the backward computes again and holds with their gradients.
    const recomputed = 2 * tokens * BF16 * (8 * width + 5 * config.intermediate_size)
    const kept = tokens * BF16 * width * config.num_hidden_layers
    return PROGRAM + (all - head) * BF16 + Math.max(embedding * BF16, block * BF16 + recomputed) + kept + WINDOW
  }
  throw new Error(`no stage ${stage}`)
}

/** Of the file that holds the optimiser's state in a bfloat16 model. */
export function stateFileBytes(config) {
  const head = config.tie_word_embeddings === false ? config.vocab_size * config.hidden_size : 0
  const all = tensorsOf(config).reduce((sum, [, shape]) => sum + itemsOf(shape), 0)
  return 3 * FP32 * (all - head)
}
