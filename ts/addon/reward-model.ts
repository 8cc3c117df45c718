import { argumentError } from '../errors.js'
import { FeatureCache } from './feature-cache.js'
import { loadNativeModel, Model, type ModelOptions, type PrefixCallOptions, prefixOptionsOf } from './model.js'
import { type TokenIds, toTokenRows } from './rows.js'

/** Scores of one row. */
export interface RowScore {
  /** One score a head, [heads]. */
  scores: Float32Array
  /** Mean over heads. */
  mean: number
  /** Standard deviation over heads with ddof 1 (the paper's sigma); null for one head. */
  std: number | null
}

export interface RewardModelOptions extends ModelOptions {
  /** Build a score head of this many outputs where the folder has none, N(0, 0.02^2) from `seed`; without it E_MISSING_TENSOR. */
  newHeads?: number
  seed?: number
}

export type ScoreCallOptions = PrefixCallOptions

/** A sequence classifier with one output a reward head, from a Hugging Face folder. */
export class RewardModel extends Model {
  static async load(folder: string, options: RewardModelOptions = {}): Promise<RewardModel> {
    const { newHeads, seed } = options
    const head = newHeads === undefined ? {} : { allowNewHead: true, numLabels: newHeads, seed: seed ?? 0 }
    return new RewardModel(await loadNativeModel(folder, options, { task: 'sequence-classification', ...head }))
  }

  get heads(): number {
    return this.info.numLabels
  }

  /**
   * Scores rows of token ids as they are (no BOS is added), each at its last token.
   * @throws E_RANGE, E_SHAPE, E_TOO_LONG naming the row; E_DISPOSED, E_BUSY, E_CANCELLED
   */
  async score(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<RowScore[]> {
    const rows = toTokenRows(input.ids, 'ids')
    if (rows.lengths.length === 0) return []
    const values = await this.call(options, (native, call) => native.score(rows, prefixOptionsOf(options), call))
    const heads = values.length / rows.lengths.length
    return Array.from(rows.lengths, (_, row) => rowScore(values.subarray(row * heads, (row + 1) * heads)))
  }

  /** How many tokens `score` and `features` compute for these rows: fewer than there are where prefixes are shared. */
  async computedTokens(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<number> {
    const rows = toTokenRows(input.ids, 'ids')
    if (rows.lengths.length === 0) return 0
    return this.call(options, (native, call) => native.computedTokens(rows, prefixOptionsOf(options), call))
  }

  /** Last-token hidden states of every row, kept natively, to train and score heads on a frozen base. */
  async features(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<FeatureCache> {
    const rows = toTokenRows(input.ids, 'ids')
    return new FeatureCache(
      await this.call(options, (native, call) => native.cacheFeatures(rows, prefixOptionsOf(options), call)),
    )
  }

  /** score.weight [heads, hidden], row-major. */
  headWeights(): Promise<Float32Array> {
    return this.call(undefined, (native, call) => native.scoreWeight(call))
  }

  /** Replaces the heads by `heads` others, [heads, hidden] row-major. */
  setHeadWeights(weights: Float32Array, heads: number): Promise<void> {
    return this.call(undefined, (native) => native.setScoreWeight(weights, heads))
  }

  async clone(): Promise<RewardModel> {
    return new RewardModel(await this.call(undefined, (native) => native.clone()))
  }
}

/** Mean and standard deviation (ddof 1) over the heads of one row. */
export function rowScore(scores: Float32Array): RowScore {
  if (scores.length === 0) throw argumentError('E_SHAPE', 'scores', 'at least one head', 'none')
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length
  if (scores.length === 1) return { scores, mean, std: null }
  const squares = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0)
  return { scores, mean, std: Math.sqrt(squares / (scores.length - 1)) }
}
