/** Statistics of rows with whole-number weights: a bootstrap resample is a weight a row, so nothing is copied or sorted again. */

export type Weights = ArrayLike<number>

/** Row numbers by ascending value. */
export function ascending(values: ArrayLike<number>): Int32Array {
  return Int32Array.from({ length: values.length }, (_, row) => row).sort(
    (a, b) => (values[a] as number) - (values[b] as number),
  )
}

export function weightedMean(values: ArrayLike<number>, weights: Weights): number {
  let [sum, total] = [0, 0]
  for (let row = 0; row < values.length; row += 1) {
    sum += (values[row] as number) * (weights[row] as number)
    total += weights[row] as number
  }
  return sum / total
}

/** Median of the sample in which a row stands as often as it weighs. */
export function weightedMedian(values: ArrayLike<number>, order: ArrayLike<number>, weights: Weights): number {
  const total = sumOf(weights)
  const [low, high] = [Math.floor((total - 1) / 2), Math.floor(total / 2)]
  let [before, lower] = [0, Number.NaN]
  for (let i = 0; i < order.length; i += 1) {
    const row = order[i] as number
    const after = before + (weights[row] as number)
    if (before <= low && low < after) lower = values[row] as number
    if (before <= high && high < after) return (lower + (values[row] as number)) / 2
    before = after
  }
  return Number.NaN
}

/**
 * Probability that a wrong row has a higher value than a right one, ties counting one half (the area under the ROC curve). NaN where
 * all rows are right or all wrong.
 */
export function auroc(
  values: ArrayLike<number>,
  order: ArrayLike<number>,
  wrong: ArrayLike<number>,
  weights: Weights,
): number {
  let [rightBelow, wrongTotal, area] = [0, 0, 0]
  forEachTie(values, order, wrong, weights, (size, errors) => {
    area += errors * (rightBelow + (size - errors) / 2)
    rightBelow += size - errors
    wrongTotal += errors
  })
  return area / (wrongTotal * rightBelow)
}

/** Coverage and error rate of the rows with the lowest values, one point a tie. */
export interface RiskPoint {
  coverage: number
  risk: number
}

export function riskCoverage(
  values: ArrayLike<number>,
  order: ArrayLike<number>,
  wrong: ArrayLike<number>,
  weights: Weights,
): RiskPoint[] {
  const total = sumOf(weights)
  const points: RiskPoint[] = []
  let [covered, errors] = [0, 0]
  forEachTie(values, order, wrong, weights, (size, wrongHere) => {
    covered += size
    errors += wrongHere
    points.push({ coverage: covered / total, risk: errors / covered })
  })
  return points
}

/**
 * Area under the risk-coverage curve: the mean over k = 1 … n of the error rate among the k rows with the lowest values. Rows that tie
 * come in random order, and the expectation over it is taken: sum over the tie of (E + (k - N) e) / k = m e + (E - N e)(H(N + m) - H(N)).
 */
export function riskCoverageArea(
  values: ArrayLike<number>,
  order: ArrayLike<number>,
  wrong: ArrayLike<number>,
  weights: Weights,
  harmonic = harmonicNumbers(sumOf(weights)),
): number {
  let [covered, errors, area] = [0, 0, 0]
  forEachTie(values, order, wrong, weights, (size, wrongHere) => {
    const rate = wrongHere / size
    const growth = (harmonic[covered + size] as number) - (harmonic[covered] as number)
    area += wrongHere + (errors - covered * rate) * growth
    covered += size
    errors += wrongHere
  })
  return area / covered
}

/** H(0) … H(count). */
export function harmonicNumbers(count: number): Float64Array {
  const numbers = new Float64Array(count + 1)
  for (let k = 1; k <= count; k += 1) numbers[k] = (numbers[k - 1] as number) + 1 / k
  return numbers
}

export interface ReliabilityBin {
  low: number
  high: number
  pairs: number
  confidence: number
  accuracy: number
}

/** Rows by confidence in equal bins over [0.5, 1]; empty bins have NaN. */
export function reliability(
  confidence: ArrayLike<number>,
  right: ArrayLike<number>,
  weights: Weights,
  bins = 10,
): ReliabilityBin[] {
  const sums = Array.from({ length: bins }, () => ({ pairs: 0, confidence: 0, right: 0 }))
  for (let row = 0; row < confidence.length; row += 1) {
    const [value, weight] = [confidence[row] as number, weights[row] as number]
    const bin = sums[Math.min(bins - 1, Math.floor((value - 0.5) * 2 * bins))] as (typeof sums)[number]
    bin.pairs += weight
    bin.confidence += weight * value
    bin.right += weight * (right[row] as number)
  }
  return sums.map((bin, i) => ({
    low: 0.5 + i / (2 * bins),
    high: 0.5 + (i + 1) / (2 * bins),
    pairs: bin.pairs,
    confidence: bin.confidence / bin.pairs,
    accuracy: bin.right / bin.pairs,
  }))
}

/** Expected calibration error: the mean over rows of |accuracy - confidence| of their bins. */
export function expectedCalibrationError(bins: readonly ReliabilityBin[]): number {
  const total = bins.reduce((sum, bin) => sum + bin.pairs, 0)
  const gaps = bins.map((bin) => (bin.pairs === 0 ? 0 : bin.pairs * Math.abs(bin.accuracy - bin.confidence)))
  return gaps.reduce((sum, gap) => sum + gap, 0) / total
}

export function sumOf(weights: Weights): number {
  let total = 0
  for (let row = 0; row < weights.length; row += 1) total += weights[row] as number
  return total
}

/** Calls `visit` with the weight and the wrong weight of every group of equal values, lowest first; groups without weight are left out. */
function forEachTie(
  values: ArrayLike<number>,
  order: ArrayLike<number>,
  wrong: ArrayLike<number>,
  weights: Weights,
  visit: (size: number, errors: number) => void,
): void {
  for (let start = 0; start < order.length; ) {
    const value = values[order[start] as number] as number
    let [size, errors, end] = [0, 0, start]
    for (; end < order.length && values[order[end] as number] === value; end += 1) {
      const row = order[end] as number
      size += weights[row] as number
      errors += (weights[row] as number) * (wrong[row] as number)
    }
    if (size > 0) visit(size, errors)
    // A NaN equals nothing, itself included: it is passed over.
    start = Math.max(end, start + 1)
  }
}
