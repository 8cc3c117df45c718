/**
 * A hundred million normals in seconds: xoshiro128++ (Blackman & Vigna 2021), seeded from the house's counter-based stream, and
 * Box-Muller, both outputs used. For simulations alone; whatever is part of a run's files draws from `Random`.
 */
import { Random } from '../data/random.js'

const UNIT = 2 ** -32
// In a context of its own, as tests run in, each look-up of a global is slow.
const { cos, log, sin, sqrt, PI } = Math

export class Normals {
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number, ...labels: (string | number)[]) {
    const stream = Random.from(seed, 'theory', ...labels)
    this.#a = stream.word() | 0
    this.#b = stream.word() | 0
    this.#c = stream.word() | 0
    this.#d = stream.word() | 1
  }

  /** Fills `out` (an even number of values) with independent standard normals. */
  fill(out: Float64Array): void {
    let [a, b, c, d] = [this.#a, this.#b, this.#c, this.#d]
    let uniform = 0
    for (let i = 0; i < out.length; i += 2) {
      for (let half = 0; half < 2; half += 1) {
        const sum = (a + d) | 0
        const word = (((sum << 7) | (sum >>> 25)) + a) >>> 0
        const shifted = b << 9
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = (d << 11) | (d >>> 21)
        if (half === 0) {
          uniform = (word + 0.5) * UNIT
          continue
        }
        const radius = sqrt(-2 * log(uniform))
        const angle = 2 * PI * UNIT * word
        out[i] = radius * cos(angle)
        out[i + 1] = radius * sin(angle)
      }
    }
    this.#a = a
    this.#b = b
    this.#c = c
    this.#d = d
  }
}
