import { argumentError } from '../errors.js'
import { FeatureCache } from './feature-cache.js'
import {
  loadNativeModel,
  Model,
  type ModelOptions,
  type PrefixCallOptions,
  prefixOptionsOf,
  type SaveOptions,
} from './model.js'
import type { NativeModel } from './native.js'
import { type TokenIds, toTokenRows } from './rows.js'
import { loadUncertainty, markUncertainty, saveUncertainty, type Uncertainty } from './uncertainty.js'

/** Scores of one row. */
export interface RowScore {
  /** One score a head, [heads]. */
  scores: Float32Array
  /** Mean over heads. */
  mean: number
  /** sigma of the model's uncertainty source; without one the standard deviation over heads, ddof 1, null for one head. */
  std: number | null
}

/** How a reward model is loaded. */
export interface RewardModelOptions extends ModelOptions {
  /** Build a score head of this many outputs where the folder has none, N(0, 0.02^2) from `seed`; without it E_MISSING_TENSOR. */
  newHeads?: number
  /** Of the new heads (default 0). */
  seed?: number
  /**
   * The blocks' products run in 8-bit integers (default false): weights by column, activations by row, each by its largest value. Scoring
   * alone, on a CPU; faster where that has AVX-512 VNNI. Scores change: docs/int8.md. Embedding, norms, attention and heads stay in `dtype`.
   */
  int8?: boolean
}

/** Of `score`, `features` and `computedTokens`. */
export type ScoreCallOptions = PrefixCallOptions

/**
 * A sequence classifier with one output a reward head, from a Hugging Face folder.
 *
 * @example
 * ```ts
 * import { RewardModel, Tokenizer } from 'prudent'
 *
 * const tokenizer = await Tokenizer.load('reward-model')
 * await using model = await RewardModel.load('reward-model')
 * const [row] = await model.score({ ids: await tokenizer.encodeBatch(['a good answer']) })
 * console.log(row.scores.length === model.heads) // true
 * // What one may count on: the mean, less a standard deviation over heads.
 * const bound = row.mean - (row.std ?? 0)
 * console.log(bound < row.mean) // true
 * ```
 */
export class RewardModel extends Model {
  #uncertainty: Uncertainty | null

  /** @internal `RewardModel.load` makes them. */
  constructor(native: NativeModel, uncertainty: Uncertainty | null = null) {
    super(native)
    // What was fitted may come with its weights, which are the model's by now.
    this.#uncertainty = uncertainty && { source: uncertainty.source, layers: uncertainty.layers, fit: uncertainty.fit }
  }

  /**
   * Opens a folder, with the uncertainty source that it names.
   * @throws E_NOT_BUILT, E_NOT_FOUND (also a sidecar that config.json names), E_CORRUPT_FILE, E_MISSING_TENSOR, E_SHAPE, E_UNSUPPORTED, E_DEVICE (also int8 elsewhere than on a CPU),
   * E_OUT_OF_MEMORY, E_CANCELLED
   */
  static async load(folder: string, options?: RewardModelOptions): Promise<RewardModel> {
    const { newHeads, seed, int8 = false } = options ?? {}
    const head = newHeads === undefined ? {} : { allowNewHead: true, numLabels: newHeads, seed: seed ?? 0 }
    const task = 'sequence-classification'
    const native = await loadNativeModel(folder, options, { task, int8, ...head })
    // New heads know nothing of a source that was fitted to others.
    if (newHeads !== undefined) return new RewardModel(native)
    try {
      return new RewardModel(native, await loadUncertainty(native, folder, options?.signal))
    } catch (error) {
      await native.dispose()
      throw error
    }
  }

  /** Where sigma comes from; null: the heads, of which nothing more is known. */
  get uncertainty(): Uncertainty | null {
    return this.#uncertainty
  }

  /** As `Model.save`, with the sidecar of the uncertainty source. */
  override async save(folder: string, options?: SaveOptions): Promise<void> {
    const uncertainty = this.#uncertainty
    await super.save(folder, options)
    if (uncertainty === null) return
    await saveUncertainty(this.native, folder, uncertainty)
    await markUncertainty(folder)
  }

  /** Scores of one row. */
  get heads(): number {
    return this.info.numLabels
  }

  /**
   * Scores rows of token ids as they are (no BOS is added), each at its last token.
   * @throws E_RANGE, E_SHAPE, E_TOO_LONG naming the row; E_DISPOSED, E_BUSY, E_CANCELLED
   */
  async score(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<RowScore[]> {
    const rows = toTokenRows(input?.ids, 'ids')
    if (rows.lengths.length === 0) return []
    const values = await this.call(options, (native, call) => native.score(rows, prefixOptionsOf(options), call))
    return rowScores(values, rows.lengths.length, this.info)
  }

  /** How many tokens `score` and `features` compute for these rows: fewer than there are where prefixes are shared. */
  async computedTokens(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<number> {
    const rows = toTokenRows(input?.ids, 'ids')
    if (rows.lengths.length === 0) return 0
    return this.call(options, (native, call) => native.computedTokens(rows, prefixOptionsOf(options), call))
  }

  /**
   * Last-token hidden states of every row, kept natively, to train and score heads on a frozen base.
   * @throws as `score`
   */
  async features(input: { ids: readonly TokenIds[] }, options?: ScoreCallOptions): Promise<FeatureCache> {
    const rows = toTokenRows(input?.ids, 'ids')
    return new FeatureCache(
      await this.call(options, (native, call) => native.cacheFeatures(rows, prefixOptionsOf(options), call)),
    )
  }

  /** score.weight [heads, hidden], row-major. */
  headWeights(): Promise<Float32Array> {
    return this.call(undefined, (native, call) => native.scoreWeight(call))
  }

  /**
   * Replaces the heads by `heads` others, [heads, hidden] row-major; an uncertainty source goes with the heads that it was fitted to.
   * @throws E_SHAPE, E_DTYPE; E_NON_FINITE for weights that are no numbers; E_BUSY while a trainer of the weights is open
   */
  async setHeadWeights(weights: Float32Array, heads: number): Promise<void> {
    const wrong = weights instanceof Float32Array ? weights.findIndex((weight) => !Number.isFinite(weight)) : -1
    if (wrong >= 0)
      throw argumentError('E_NON_FINITE', 'weights', 'finite weights', `${weights[wrong]} at index ${wrong}`)
    await this.call(undefined, (native) => native.setScoreWeight(weights, heads))
    this.#uncertainty = null
  }

  /**
   * Names a constant beginning of texts: a long chat template's, a system prompt, the examples of a judge. Its keys and values are computed
   * when first needed, again when the weights have changed, and kept until `dispose`; rows of `score` and `features` that begin with it (and
   * go on) compute only what follows. Results agree within rounding. Empty: none. Not with `sharePrefixes: false`.
   * @throws E_RANGE, E_TOO_LONG
   */
  async setPrefix(ids: TokenIds): Promise<void> {
    const prefix = ids?.length === 0 ? new Int32Array() : toTokenRows([ids], 'ids').ids
    await this.call(undefined, (native) => native.setPrefix(prefix))
  }

  /** A copy with weights of its own. */
  async clone(): Promise<RewardModel> {
    const uncertainty = this.#uncertainty
    return new RewardModel(await this.call(undefined, (native) => native.clone()), uncertainty)
  }
}

/** Columns of a model's scores: rewards first, then those whose sum of squares is the variance. */
export interface ScoreColumns {
  numLabels: number
  spread: number
}

/** values: [rows, columns] row-major. */
export function rowScores(values: Float32Array, rows: number, { spread }: Pick<ScoreColumns, 'spread'>): RowScore[] {
  const columns = values.length / rows
  return Array.from({ length: rows }, (_, row) => rowScore(values.subarray(row * columns, (row + 1) * columns), spread))
}

/** Mean over the heads of one row; its sigma from the last `spread` columns, or over the heads (ddof 1). */
export function rowScore(columns: Float32Array, spread = 0): RowScore {
  const scores = columns.subarray(0, columns.length - spread)
  if (scores.length === 0) throw argumentError('E_SHAPE', 'scores', 'at least one head', 'none')
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length
  if (spread > 0) {
    const variance = columns.subarray(scores.length).reduce((sum, value) => sum + value ** 2, 0)
    return { scores, mean, std: Math.sqrt(variance) }
  }
  if (scores.length === 1) return { scores, mean, std: null }
  const squares = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0)
  return { scores, mean, std: Math.sqrt(squares / (scores.length - 1)) }
}
