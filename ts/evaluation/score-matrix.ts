import { argumentError } from '../errors.js'

/** Scores of n heads on some rows, row-major: what RewardModel.score returns. */
export interface ScoreMatrix {
  values: Float32Array
  rows: number
  heads: number
}

export function scoreMatrix(values: Float32Array, heads: number): ScoreMatrix {
  if (heads < 1 || values.length % heads !== 0) {
    throw argumentError('E_SHAPE', 'scores', `a multiple of ${heads} heads`, `${values.length} values`)
  }
  return { values, rows: values.length / heads, heads }
}

export const scoreOf = (matrix: ScoreMatrix, row: number, head: number): number =>
  matrix.values[row * matrix.heads + head] as number

export const rowOf = (matrix: ScoreMatrix, row: number): Float32Array =>
  matrix.values.subarray(row * matrix.heads, (row + 1) * matrix.heads)

/** One head's scores, [rows]. */
export function headOf(matrix: ScoreMatrix, head: number): Float64Array {
  return Float64Array.from({ length: matrix.rows }, (_, row) => scoreOf(matrix, row, head))
}

/** Mean over heads, [rows]. */
export function meanOverHeads(matrix: ScoreMatrix): Float64Array {
  return Float64Array.from(
    { length: matrix.rows },
    (_, row) => rowOf(matrix, row).reduce((sum, value) => sum + value, 0) / matrix.heads,
  )
}

/** a - b, element by element. */
export function differenceOf(a: ScoreMatrix, b: ScoreMatrix): ScoreMatrix {
  if (a.rows !== b.rows || a.heads !== b.heads) {
    throw argumentError('E_SHAPE', 'scores', `[${a.rows}, ${a.heads}]`, `[${b.rows}, ${b.heads}]`)
  }
  return { ...a, values: a.values.map((value, i) => value - (b.values[i] as number)) }
}

/** The given rows in the given order. */
export function selectRows(matrix: ScoreMatrix, rows: ArrayLike<number>): ScoreMatrix {
  const values = new Float32Array(rows.length * matrix.heads)
  for (let i = 0; i < rows.length; i += 1) values.set(rowOf(matrix, rows[i] as number), i * matrix.heads)
  return { values, rows: rows.length, heads: matrix.heads }
}
