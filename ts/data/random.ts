import { createHash } from 'node:crypto'

/**
 * Seeded random numbers that never depend on who drew before: Philox 4x32-10 (Salmon et al. 2011), a counter-based generator.
 * Fixed algorithm, part of the file formats of runs; do not change it:
 *   digest  = SHA-256 of the UTF-8 JSON text of [seed, ...labels]
 *   key     = digest bytes 0..7 as two little-endian 32-bit words; counter words 2 and 3 = digest bytes 8..15
 *   block n = philox(counter = [n mod 2^32, n div 2^32, word2, word3], key): four 32-bit words, used in order
 * `position` counts the 32-bit words drawn, so that a stream is resumed by `at(position)`.
 */
export class Random {
  readonly #seed: number | string
  readonly #labels: readonly (string | number)[]
  readonly #key: readonly [number, number]
  readonly #stream: readonly [number, number]
  readonly #block = new Uint32Array(4)
  #blockIndex = -1
  #position = 0

  private constructor(seed: number | string, labels: readonly (string | number)[]) {
    this.#seed = seed
    this.#labels = labels
    const digest = createHash('sha256')
      .update(JSON.stringify([seed, ...labels]))
      .digest()
    this.#key = [digest.readUInt32LE(0), digest.readUInt32LE(4)]
    this.#stream = [digest.readUInt32LE(8), digest.readUInt32LE(12)]
  }

  /** The stream named by a seed and labels: `Random.from(7, 'policy', 3, 'rollout')`. */
  static from(seed: number | string, ...labels: (string | number)[]): Random {
    if (typeof seed === 'number' && !Number.isFinite(seed))
      throw new RangeError(`seed: expected a finite number, received ${seed}`)
    return new Random(seed, labels)
  }

  /** An independent stream below this one; what this one has drawn does not matter. */
  split(...labels: (string | number)[]): Random {
    return new Random(this.#seed, [...this.#labels, ...labels])
  }

  /** 32-bit words drawn so far. */
  get position(): number {
    return this.#position
  }

  /** The same stream from a position. */
  at(position: number): Random {
    const stream = new Random(this.#seed, this.#labels)
    stream.#position = position
    return stream
  }

  /** Uniform integer in [0, 2^32). */
  word(): number {
    const block = Math.floor(this.#position / 4)
    if (block !== this.#blockIndex) {
      philox4x32(
        block >>> 0,
        Math.floor(block / 4294967296) >>> 0,
        this.#stream[0],
        this.#stream[1],
        this.#key,
        this.#block,
      )
      this.#blockIndex = block
    }
    return this.#block[this.#position++ % 4] as number
  }

  /** Uniform in [low, high), 53 random bits. */
  uniform(low = 0, high = 1): number {
    const unit = ((this.word() >>> 5) * 67108864 + (this.word() >>> 6)) / 9007199254740992
    return low + (high - low) * unit
  }

  /** Normal by Box-Muller; two uniforms a call and no state kept between calls. */
  normal(mean = 0, standardDeviation = 1): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    return mean + standardDeviation * radius * Math.cos(2 * Math.PI * this.uniform())
  }

  /** Uniform integer in [0, bound), or [low, high) with two arguments; without modulo bias. */
  integer(low: number, high?: number): number {
    const [from, to] = high === undefined ? [0, low] : [low, high]
    const span = to - from
    if (!Number.isSafeInteger(span) || span < 1 || span > 4294967296) {
      throw new RangeError(`integer: expected a range of 1 to 2^32 integers, received [${from}, ${to})`)
    }
    const limit = 4294967296 - (4294967296 % span)
    let word = this.word()
    while (word >= limit) word = this.word()
    return from + (word % span)
  }

  /** Fisher-Yates in place; returns its argument. */
  shuffle<T extends unknown[] | Int32Array | Uint32Array | Float64Array>(items: T): T {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.integer(last + 1)
      const kept = items[last]
      items[last] = items[other]
      items[other] = kept
    }
    return items
  }

  /** 0 … count - 1 in random order. */
  permutation(count: number): Int32Array {
    return this.shuffle(Int32Array.from({ length: count }, (_, index) => index))
  }

  /** One item; `weights` (not negative, one an item) makes it a weighted draw. */
  choice<T>(items: readonly T[], weights?: readonly number[]): T {
    if (items.length === 0) throw new RangeError('choice: expected at least one item, received none')
    return items[weights === undefined ? this.integer(items.length) : this.#weightedIndex(weights, items.length)] as T
  }

  #weightedIndex(weights: readonly number[], count: number): number {
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    if (weights.length !== count || !(total > 0) || weights.some((weight) => !(weight >= 0))) {
      throw new RangeError(
        `choice: expected ${count} weights >= 0 with a sum > 0, received ${weights.length} with sum ${total}`,
      )
    }
    let rest = this.uniform() * total
    let index = 0
    while (index < count - 1 && rest >= (weights[index] as number)) rest -= weights[index++] as number
    while ((weights[index] as number) === 0) index--
    return index
  }
}

/** A 53-bit seed for native code, from a seed and labels. */
export function deriveSeed(seed: number | string, ...labels: (string | number)[]): number {
  const stream = Random.from(seed, ...labels)
  return (stream.word() >>> 11) * 4294967296 + stream.word()
}

const MULTIPLIER_0 = 0xd2511f53
const MULTIPLIER_1 = 0xcd9e8d57
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85

/** One Philox 4x32 block of ten rounds; exported for the known-answer test. */
export function philox4x32(
  word0: number,
  word1: number,
  word2: number,
  word3: number,
  key: readonly [number, number],
  out: Uint32Array,
): void {
  let [c0, c1, c2, c3] = [word0, word1, word2, word3]
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0)
    const low0 = Math.imul(MULTIPLIER_0, c0)
    const high1 = multiplyHigh(MULTIPLIER_1, c2)
    const low1 = Math.imul(MULTIPLIER_1, c2)
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1 >>> 0
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0 >>> 0
    k0 = (k0 + WEYL_0) >>> 0
    k1 = (k1 + WEYL_1) >>> 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
}

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff]
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const cross = aLow * bHigh + (middle & 0xffff)
  return (aHigh * bHigh + (middle >>> 16) + (cross >>> 16)) >>> 0
}
