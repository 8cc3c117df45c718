import { argumentError } from '../errors.js'
import type { ObjectiveInput } from './objectives.js'
import type { SigmaSettings } from './settings.js'

/**
 * Disagreement of the ensemble's heads on each response, [rows] in double precision: standard deviation or variance over heads
 * (divisor heads - ddof), of scores that were centred first. Bradley-Terry fixes a head's scores up to a constant only, so
 * without centring much of it is an offset that says nothing about the response.
 */
export function disagreement(input: ObjectiveInput, settings: SigmaSettings): Float64Array {
  const rows = rowsOf(input)
  if (settings.constant !== undefined) return new Float64Array(rows).fill(settings.constant)
  if (settings.center !== 'none' && input.centers === null)
    throw argumentError('E_CONFIG', 'sigma.center', 'none where there are no centers (referenceMean)', settings.center)
  if (input.spread !== undefined) return closedForm(input, input.spread, settings)
  const divisor = input.ensemble.length - settings.ddof
  if (divisor < 1) {
    throw argumentError(
      'E_RANGE',
      'ensemble',
      `at least ${settings.ddof + 1} heads for sigma`,
      String(input.ensemble.length),
    )
  }
  const sigma = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    const values = input.ensemble.map(
      (head) => (input.scores[row * input.heads + head] as number) - centerAt(input, row, head),
    )
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / divisor
    sigma[row] = settings.power === 'variance' ? variance : Math.sqrt(variance)
  }
  return settings.shuffle ? input.random.shuffle(sigma) : sigma
}

/** Centres are linear in the features, as the columns are: what is subtracted from a column centres its square. */
function closedForm(input: ObjectiveInput, spread: readonly number[], settings: SigmaSettings): Float64Array {
  const sigma = Float64Array.from({ length: rowsOf(input) }, (_, row) => {
    const squares = spread.map(
      (column) => ((input.scores[row * input.heads + column] as number) - centerAt(input, row, column)) ** 2,
    )
    const variance = squares.reduce((sum, square) => sum + square, 0)
    return settings.power === 'variance' ? variance : Math.sqrt(variance)
  })
  return settings.shuffle ? input.random.shuffle(sigma) : sigma
}

/** @throws E_TYPE where there are no scores */
export function rowsOf(input: ObjectiveInput): number {
  if (input?.scores instanceof Float32Array) return input.scores.length / input.heads
  throw argumentError('E_TYPE', 'input.scores', 'a Float32Array', typeof input?.scores)
}

function centerAt(input: ObjectiveInput, row: number, head: number): number {
  const { centers, heads } = input
  if (centers === null) return 0
  return centers[centers.length === heads ? head : row * heads + head] as number
}
