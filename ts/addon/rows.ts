import { argumentError } from '../errors.js'
import type { TokenRows } from './native.js'

/** Token ids of one row: whole numbers in [0, vocabulary). */
export type TokenIds = ArrayLike<number>

/**
 * Rows of token ids laid end to end, checked.
 * @throws E_TYPE, E_SHAPE (an empty row), E_RANGE (not a whole number >= 0), naming `argument[row][position]`
 */
export function toTokenRows(rows: readonly TokenIds[], argument: string): TokenRows {
  if (!Array.isArray(rows)) throw argumentError('E_TYPE', argument, 'an array of rows of token ids', describe(rows))
  const lengths = new Int32Array(rows.length)
  rows.forEach((row: unknown, index) => {
    if (!isRow(row)) throw argumentError('E_TYPE', `${argument}[${index}]`, 'an array of token ids', describe(row))
    if (row.length === 0) throw argumentError('E_SHAPE', `${argument}[${index}]`, 'at least one token', 'none')
    lengths[index] = row.length
  })
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  rows.forEach((row, index) => {
    for (let position = 0; position < row.length; position++) {
      const id = row[position]
      if (!isTokenId(id))
        throw argumentError(
          'E_RANGE',
          `${argument}[${index}][${position}]`,
          'a token id (a whole number >= 0)',
          describe(id),
        )
      ids[at++] = id
    }
  })
  return { ids, lengths }
}

/** @throws E_TYPE naming the argument */
export function checkList(values: unknown, argument: string, expected: string): ArrayLike<number> {
  if (isRow(values)) return values
  throw argumentError('E_TYPE', argument, `an array of ${expected}`, describe(values))
}

/**
 * Numbers that count or name something, checked.
 * @throws E_TYPE, E_RANGE naming `argument[position]`
 */
export function toWholeNumbers(values: ArrayLike<number>, argument: string): Int32Array {
  return Int32Array.from(checkList(values, argument, 'whole numbers'), (value, at) => {
    if (isTokenId(value)) return value
    throw argumentError('E_RANGE', `${argument}[${at}]`, 'a whole number >= 0', describe(value))
  })
}

/** The opposite: one Int32Array a row, views of `rows.ids`. */
export function fromTokenRows(rows: TokenRows): Int32Array[] {
  let at = 0
  return Array.from(rows.lengths, (length) => {
    const start = at
    at += length
    return rows.ids.subarray(start, at)
  })
}

/** Values laid end to end, `lengths[row]` of them to a row, as views. */
export function splitRows(values: Float32Array, lengths: ArrayLike<number>): Float32Array[] {
  let at = 0
  return Array.from(lengths, (length) => {
    const start = at
    at += length
    return values.subarray(start, at)
  })
}

function isRow(row: unknown): row is TokenIds {
  return Array.isArray(row) || (ArrayBuffer.isView(row) && 'length' in row && !('getInt8' in row))
}

function isTokenId(id: unknown): id is number {
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= 0x7fffffff
}

/** A value that was not expected, as errors name it. */
export function describe(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean')
    return String(value)
  if (typeof value === 'string') return `string '${value.slice(0, 60)}'`
  return Array.isArray(value) ? `array of ${value.length}` : `a value of type ${typeof value}`
}
