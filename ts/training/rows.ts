import type { TokenRows } from '../addon/native.js'
import { packRows } from '../data/batching.js'

/** The named rows, laid end to end. */
export function takeRows(rows: readonly Int32Array[], numbers: ArrayLike<number>): TokenRows {
  return packRows(Array.from(numbers, (number) => rows[number] as Int32Array))
}
