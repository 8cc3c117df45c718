/** Measures of scores on preference pairs, per head. */
export interface PairMeasures {
  /** Share of pairs with chosen strictly above rejected, [heads]; a tie counts as wrong. */
  accuracy: Float32Array
  /** Mean of -ln sigmoid(chosen - rejected), [heads]. */
  loss: Float32Array
}

/** chosen, rejected: [pairs, heads], row-major. */
export function measurePairs(chosen: Float32Array, rejected: Float32Array, heads: number): PairMeasures {
  const pairs = chosen.length / heads
  const accuracy = new Float64Array(heads)
  const loss = new Float64Array(heads)
  for (const [index, score] of chosen.entries()) {
    const head = index % heads
    const margin = score - (rejected[index] as number)
    accuracy[head] = (accuracy[head] as number) + (margin > 0 ? 1 : 0)
    loss[head] = (loss[head] as number) + softplus(-margin)
  }
  const mean = (sum: number) => sum / pairs
  return { accuracy: Float32Array.from(accuracy, mean), loss: Float32Array.from(loss, mean) }
}

export function meanOf(values: Iterable<number>): number {
  let sum = 0
  let count = 0
  for (const value of values) {
    sum += value
    count++
  }
  return sum / count
}

/** ln(1 + e^x) without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
}
