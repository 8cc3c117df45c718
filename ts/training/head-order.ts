import { type EpochPosition, Epochs } from '../data/batching.js'
import { Random } from '../data/random.js'
import type { HeadsSettings } from './settings.js'
import type { HeadStreams } from './types.js'

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
  /** One a head, or one for all; heads with one stream hold one object. */
  readonly #epochs: Epochs[]
  /** samples[head][k] = pair number; empty without bootstrap. */
  readonly #samples: Int32Array[]

  constructor(
    pairs: number,
    settings: HeadsSettings,
    position?: EpochPosition,
    streams: readonly HeadStreams[] = ownStreams(settings.heads),
  ) {
    const random = Random.from(settings.seed, 'heads')
    const base = { count: pairs, batchSize: settings.batchSize, ...(position && { position }) }
    const epochs = kept((order: number) => new Epochs({ ...base, random: random.split('order', order) }))
    const samples = kept((sample: number) => resample(pairs, random.split('bootstrap', sample)))
    this.#epochs = settings.order === 'per-head' ? streams.map(({ order }) => epochs(order)) : [epochs(0)]
    this.#samples = settings.bootstrap ? streams.map(({ sample }) => samples(sample)) : []
    this.batchesPerEpoch = this.#first.batchesPerEpoch
  }

  get position(): EpochPosition {
    return this.#first.position
  }

  next(): HeadBatch {
    const drawn = new Map([...new Set(this.#epochs)].map((epochs) => [epochs, epochs.next()]))
    const batches = this.#epochs.map((epochs) => drawn.get(epochs) as { rows: Int32Array; epoch: number })
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

/** Every head's streams are its own. */
export const ownStreams = (heads: number): HeadStreams[] =>
  Array.from({ length: heads }, (_, head) => ({ init: head, sample: head, order: head }))

function kept<T>(make: (stream: number) => T): (stream: number) => T {
  const made = new Map<number, T>()
  return (stream) => {
    if (!made.has(stream)) made.set(stream, make(stream))
    return made.get(stream) as T
  }
}

/** `count` draws with replacement from 0 … count - 1. */
function resample(count: number, random: Random): Int32Array {
  return Int32Array.from({ length: count }, () => random.integer(count))
}
