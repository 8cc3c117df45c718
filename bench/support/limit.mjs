// The limit of a job: the matrix products that nobody can avoid, as shapes whose rate is measured in the same run.
import { availableParallelism } from 'node:os'

/** Rows of one measured product at most; more of them are counted as several products. */
const LARGEST_ROWS = 4096

/** @typedef {{ m: number, n: number, k: number, count: number }} Product  [m, k] x [k, n], `count` times (a fraction is fine) */

function product(m, n, k, count = 1) {
  const rows = Math.min(m, LARGEST_ROWS)
  return { m: Math.max(1, Math.round(rows)), n, k, count: (count * m) / Math.max(1, rows) }
}

/** Weight matrices of one block as [outputs, inputs]. */
function blockMatrices(config) {
  if (config.model_type === 'gpt2') {
    const width = config.n_embd
    return [
      [3 * width, width],
      [width, width],
      [4 * width, width],
      [width, 4 * width],
    ]
  }
  const { hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads, head_dim: dim } = config
  return [
    [(heads + 2) * dim, hidden],
    [hidden, heads * dim],
    [2 * inner, hidden],
    [hidden, inner],
  ]
}

function layersOf(config) {
  return config.n_layer ?? config.num_hidden_layers
}

/** Forward of the blocks; of the last one's projections only queries, output and feed-forward of `readRows` rows are needed. */
export function forwardProducts(config, tokens, readRows = tokens) {
  const layers = layersOf(config)
  return blockMatrices(config).flatMap(([outputs, inputs], matrix) => {
    const lastRows = matrix === 0 ? tokens : readRows
    return [product(tokens, outputs, inputs, layers - 1), product(lastRows, outputs, inputs)]
  })
}

/** Forward and both products of the backward. */
export function trainingProducts(config, tokens, readRows = tokens) {
  return withBackward(forwardProducts(config, tokens, readRows))
}

/** LM head at `rows` positions. */
export function headProducts(config, rows) {
  const width = config.n_embd ?? config.hidden_size
  return [product(rows, config.vocab_size, width)]
}

export function withBackward(products) {
  return products.flatMap(({ m, n, k, count }) => [
    { m, n, k, count },
    { m, n: k, k: n, count },
    { m: n, n: k, k: m, count },
  ])
}

/** One token a row and step. */
export function decodeProducts(config, rows, steps) {
  return [...forwardProducts(config, rows), ...headProducts(config, rows)].map((one) => ({
    ...one,
    count: one.count * steps,
  }))
}

/**
 * Floating-point operations of causal attention's two products over packed rows. `shared`: lengths of prefixes that two rows have in
 * common, computed once.
 */
export function attentionFlops(config, rows, shared = []) {
  const heads = config.n_head ?? config.num_attention_heads
  const dim = config.head_dim ?? config.n_embd / config.n_head
  const triangle = (length) => (length * (length + 1)) / 2
  const sum = (lengths) => lengths.reduce((total, length) => total + triangle(length), 0)
  const squares = sum(rows.map(({ length }) => length)) - sum(shared)
  return layersOf(config) * heads * dim * 4 * squares
}

export function flopsOf(products) {
  return products.reduce((sum, { m, n, k, count }) => sum + 2 * m * n * k * count, 0)
}

/** Equal shapes are measured once. */
export function mergeProducts(products) {
  const merged = new Map()
  for (const one of products) {
    const key = `${one.m} ${one.n} ${one.k}`
    const known = merged.get(key)
    if (known) known.count += one.count
    else merged.set(key, { ...one })
  }
  return [...merged.values()]
}

/**
 * Seconds of the unavoidable work at the measured rate. `extraFlops` (attention) count at the mean rate of the products.
 * @param {Product[]} products
 * @param {number[]} seconds of one product each
 */
export function limitSeconds(products, seconds, extraFlops = 0) {
  const total = products.reduce((sum, { count }, index) => sum + count * seconds[index], 0)
  const flops = flopsOf(products)
  return { seconds: total * (1 + extraFlops / flops), flopsPerSecond: flops / total, threads: availableParallelism() }
}
