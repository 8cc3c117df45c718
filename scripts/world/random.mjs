/** Seeded generator (mulberry32) and the draws that the world needs; the same numbers on every platform. */
export function createRandom(seed) {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
  const integer = (below) => Math.floor(uniform() * below)
  const pick = (list) => list[integer(list.length)]
  /** Index drawn with probability proportional to its weight. */
  const weighted = (weights) => {
    let left = uniform() * weights.reduce((sum, weight) => sum + weight, 0)
    const index = weights.findIndex((weight) => {
      left -= weight
      return left < 0
    })
    return index < 0 ? weights.length - 1 : index
  }
  return { uniform, integer, pick, weighted }
}
