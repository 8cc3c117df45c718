// Seeded numbers for weights and workloads: xoshiro128**, so that every machine makes the same ones.

export class Random {
  constructor(seed) {
    // splitmix32 spreads a small seed over the state.
    let z = seed >>> 0
    this.state = Uint32Array.from({ length: 4 }, () => {
      z = (z + 0x9e3779b9) >>> 0
      let t = z ^ (z >>> 16)
      t = Math.imul(t, 0x21f0aaad)
      t ^= t >>> 15
      t = Math.imul(t, 0x735a2d97)
      return (t ^ (t >>> 15)) >>> 0
    })
  }

  uint32() {
    const s = this.state
    const scrambled = Math.imul(s[1], 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0
    const shifted = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= shifted
    s[3] = (s[3] << 11) | (s[3] >>> 21)
    return result
  }

  /** In [0, 1). */
  uniform() {
    return this.uint32() / 2 ** 32
  }

  /** Whole number in [low, high). */
  integer(low, high) {
    return low + Math.floor(this.uniform() * (high - low))
  }

  /** Standard normal (Box and Muller). */
  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }
}
