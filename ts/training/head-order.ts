import { type EpochPosition, Epochs } from '../data/batching.js'
import { Random } from '../data/random.js'
import type { HeadsSettings } from './settings.js'

/** Which pairs each head sees at a step. */
export interface HeadBatch {
  /** Pair numbers: [batch] for all heads, or [heads, batch] row-major. */
  pairs: Int32Array
  perHead: boolean
  epoch: number
}

/** Order and bootstrap samples of an ensemble's heads. All depends on seed, head and epoch alone, so a position resumes it. */
export class HeadOrder {
  readonly batchesPerEpoch: number
  readonly #epochs: Epochs[]
  /** samples[head][k] = pair number; empty without bootstrap. */
  readonly #samples: Int32Array[]

  constructor(pairs: number, settings: HeadsSettings, position?: EpochPosition) {
    const random = Random.from(settings.seed, 'heads')
    const orders = settings.order === 'per-head' ? settings.heads : 1
    const base = { count: pairs, batchSize: settings.batchSize, ...(position && { position }) }
    this.#epochs = Array.from(
      { length: orders },
      (_, head) => new Epochs({ ...base, random: random.split('order', head) }),
    )
    this.#samples = settings.bootstrap
      ? Array.from({ length: settings.heads }, (_, head) => resample(pairs, random.split('bootstrap', head)))
      : []
    this.batchesPerEpoch = this.#first.batchesPerEpoch
  }

  get position(): EpochPosition {
    return this.#first.position
  }

  next(): HeadBatch {
    const batches = this.#epochs.map((epochs) => epochs.next())
    const first = batches[0] as { rows: Int32Array; epoch: number }
    const heads = Math.max(this.#samples.length, batches.length)
    if (heads === 1 && this.#samples.length === 0) return { pairs: first.rows, perHead: false, epoch: first.epoch }
    const pairs = new Int32Array(heads * first.rows.length)
    for (let head = 0; head < heads; head++) {
      const { rows } = batches[head] ?? first
      const sample = this.#samples[head]
      pairs.set(sample === undefined ? rows : rows.map((row) => sample[row] as number), head * rows.length)
    }
    return { pairs, perHead: true, epoch: first.epoch }
  }

  get #first(): Epochs {
    return this.#epochs[0] as Epochs
  }
}

/** `count` draws with replacement from 0 … count - 1. */
function resample(count: number, random: Random): Int32Array {
  return Int32Array.from({ length: count }, () => random.integer(count))
}
