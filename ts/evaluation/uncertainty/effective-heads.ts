/**
 * How many independent heads an ensemble is worth: the participation ratio of the correlation matrix C of the heads' errors over pairs,
 * (tr C)^2 / tr(C^2) = n^2 / sum_jk C_jk^2. Heads that err alike give 1, heads that err independently give n. Heads whose error never
 * varies have no correlation and are left out; NaN where fewer than one is left.
 */
import type { Weights } from './weighted.js'

/** errors[head][row]. */
export function effectiveHeads(errors: readonly ArrayLike<number>[], weights: Weights): number {
  const { correlations, heads } = errorCorrelations(errors, weights)
  const squares = correlations.reduce((sum, value) => sum + 2 * value ** 2, 0)
  return heads === 0 ? Number.NaN : heads ** 2 / (heads + squares)
}

/** Mean over pairs of heads; NaN for fewer than two heads that vary. */
export function meanErrorCorrelation(errors: readonly ArrayLike<number>[], weights: Weights): number {
  const { correlations } = errorCorrelations(errors, weights)
  return correlations.reduce((sum, value) => sum + value, 0) / correlations.length
}

/** Pearson correlations of all pairs of heads that vary. */
function errorCorrelations(errors: readonly ArrayLike<number>[], weights: Weights) {
  const varying = errors.map((head) => standardised(head, weights)).filter((head) => head !== null)
  const correlations: number[] = []
  varying.forEach((a, i) => {
    for (const b of varying.slice(i + 1)) {
      let sum = 0
      for (let row = 0; row < a.length; row += 1) sum += (a[row] as number) * (b[row] as number)
      correlations.push(sum)
    }
  })
  return { correlations, heads: varying.length }
}

/** Scaled so that the product of two columns sums to their correlation: each row by the root of its weight. */
function standardised(values: ArrayLike<number>, weights: Weights): Float64Array | null {
  let [total, sum, squares] = [0, 0, 0]
  for (let row = 0; row < values.length; row += 1) {
    const [value, weight] = [values[row] as number, weights[row] as number]
    total += weight
    sum += weight * value
  }
  const centre = sum / total
  for (let row = 0; row < values.length; row += 1)
    squares += (weights[row] as number) * ((values[row] as number) - centre) ** 2
  // Rounding alone must not count as variation.
  if (!(squares > 1e-18 * total * (1 + centre ** 2))) return null
  const scale = 1 / Math.sqrt(squares)
  return Float64Array.from(
    { length: values.length },
    (_, row) => Math.sqrt(weights[row] as number) * ((values[row] as number) - centre) * scale,
  )
}
