import type { TokenRows } from '../addon/native.js'
import { PrudentError } from '../errors.js'
import type { Random } from './random.js'

/** Rows of token ids laid end to end, as native code takes them. */
export function packRows(rows: readonly ArrayLike<number>[]): TokenRows {
  const lengths = Int32Array.from(rows, (row) => row.length)
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  for (const row of rows) {
    ids.set(row, at)
    at += row.length
  }
  return { ids, lengths }
}

/** The opposite of packRows; the rows are views of `packed.ids`. */
export function unpackRows(packed: TokenRows): Int32Array[] {
  let at = 0
  return Array.from(packed.lengths, (length) => {
    at += length
    return packed.ids.subarray(at - length, at)
  })
}

/**
 * Groups row numbers into batches of at most `budget` tokens, in the given order (default 0, 1, 2 …). A row longer than the
 * budget makes a batch of its own.
 */
export function batchByTokens(lengths: ArrayLike<number>, budget: number, order?: ArrayLike<number>): number[][] {
  if (!(budget >= 1))
    throw new PrudentError('E_RANGE', `budget: expected a number >= 1, received ${budget}`, { argument: 'budget' })
  const batches: number[][] = []
  let batch: number[] = []
  let tokens = 0
  for (let position = 0; position < (order ?? lengths).length; position++) {
    const row = order === undefined ? position : (order[position] as number)
    const length = lengths[row] as number
    if (batch.length > 0 && tokens + length > budget) {
      batches.push(batch)
      batch = []
      tokens = 0
    }
    batch.push(row)
    tokens += length
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

export interface HoldOut {
  train: Int32Array
  heldOut: Int32Array
}

/**
 * Splits rows 0 … count - 1 in a seeded way; both parts are in ascending order. With `groups` (one key a row, such as the
 * prompt) rows of one group stay together, so that nothing of a held-out prompt is trained on.
 */
export function holdOut(
  count: number,
  options: { random: Random; fraction?: number; rows?: number; groups?: readonly string[] | undefined },
): HoldOut {
  const wanted = Math.round(options.rows ?? (options.fraction ?? 0) * count)
  if (!(wanted >= 0 && wanted <= count)) {
    throw new PrudentError('E_RANGE', `holdOut: expected 0 to ${count} rows, received ${wanted}`, { argument: 'rows' })
  }
  const groups = new Map<string, number[]>()
  for (let row = 0; row < count; row++) {
    const key = options.groups?.[row] ?? String(row)
    const members = groups.get(key)
    if (members === undefined) groups.set(key, [row])
    else members.push(row)
  }
  const heldOut: number[] = []
  const train: number[] = []
  for (const members of options.random.shuffle([...groups.values()])) {
    const part = heldOut.length + members.length <= wanted ? heldOut : train
    part.push(...members)
  }
  return { train: Int32Array.from(train).sort(), heldOut: Int32Array.from(heldOut).sort() }
}

export interface EpochPosition {
  epoch: number
  /** Batches of the epoch already taken. */
  batch: number
}

/**
 * Endless seeded epochs over rows 0 … count - 1, a new order each epoch. The order of an epoch depends on seed and epoch number
 * alone, so a run goes on from a saved position without replaying.
 */
export class Epochs {
  readonly count: number
  readonly batchSize: number
  readonly batchesPerEpoch: number
  readonly #random: Random
  #order: Int32Array
  #position: EpochPosition

  /** `dropLast` leaves out an incomplete last batch; default off. */
  constructor(options: {
    count: number
    batchSize: number
    random: Random
    position?: EpochPosition
    dropLast?: boolean
  }) {
    const { count, batchSize } = options
    if (!(count >= 1) || !(batchSize >= 1)) {
      throw new PrudentError(
        'E_RANGE',
        `Epochs: expected rows and batches >= 1, received ${count} rows, batches of ${batchSize}`,
      )
    }
    this.count = count
    this.batchSize = batchSize
    this.#random = options.random
    this.batchesPerEpoch =
      options.dropLast && count >= batchSize ? Math.floor(count / batchSize) : Math.ceil(count / batchSize)
    this.#position = { ...(options.position ?? { epoch: 0, batch: 0 }) }
    if (this.#position.batch > this.batchesPerEpoch || this.#position.batch < 0 || this.#position.epoch < 0) {
      throw new PrudentError(
        'E_STATE',
        `Epochs: position ${JSON.stringify(this.#position)} is outside ${this.batchesPerEpoch} batches`,
      )
    }
    this.#order = this.#orderOf(this.#position.epoch)
  }

  /** Save this, and give it to the constructor to go on. */
  get position(): EpochPosition {
    return { ...this.#position }
  }

  /** Row numbers of the next batch and where it stands. */
  next(): { rows: Int32Array; epoch: number; batch: number } {
    if (this.#position.batch === this.batchesPerEpoch) {
      this.#position = { epoch: this.#position.epoch + 1, batch: 0 }
      this.#order = this.#orderOf(this.#position.epoch)
    }
    const { epoch, batch } = this.#position
    const rows = this.#order.slice(batch * this.batchSize, (batch + 1) * this.batchSize)
    this.#position = { epoch, batch: batch + 1 }
    return { rows, epoch, batch }
  }

  #orderOf(epoch: number): Int32Array {
    return this.#random.split('epoch', epoch).permutation(this.count)
  }
}
