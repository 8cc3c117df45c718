import type { TokenRows } from '../addon/native.js'
import { packRows } from '../data/batching.js'

/** What errors call rows: where they came from, else their numbers. */
export function rowNames(numbers: ArrayLike<number>, places: readonly string[] | undefined): string[] {
  return Array.from(numbers, (number) => places?.[number] ?? `row ${number}`)
}

/** The named rows, laid end to end. */
export function takeRows(rows: readonly Int32Array[], numbers: ArrayLike<number>): TokenRows {
  return packRows(Array.from(numbers, (number) => rows[number] as Int32Array))
}
