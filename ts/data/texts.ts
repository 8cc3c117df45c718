import { PrudentError } from '../errors.js'
import { countDropped, type DataReport, emptyReport } from './report.js'
import { kindOf, type Row, rowPlace } from './rows.js'
import type { Tokenizer } from './tokenizer.js'

/** One column of texts (IMDB-like data), with the report of rows that are null or empty. */
export async function readTexts(
  rows: AsyncIterable<Row>,
  column = 'text',
): Promise<{ texts: string[]; report: DataReport }> {
  const report = emptyReport()
  const texts: string[] = []
  for await (const row of rows) {
    report.rows++
    const value = row.values[column]
    const place = rowPlace(row)
    if (!Object.hasOwn(row.values, column)) {
      const received = Object.keys(row.values).join(', ')
      throw new PrudentError('E_DATA', `${place}: no column "${column}"; there is ${received}`, {
        argument: 'column',
        received: column,
      })
    }
    if (value === null || value === undefined) countDropped(report, 'null', place)
    else if (typeof value !== 'string') {
      throw new PrudentError('E_DATA', `${place}: ${column}: expected text, received ${kindOf(value)}`, {
        received: kindOf(value),
      })
    } else if (value.trim() === '') countDropped(report, 'empty', place)
    else texts.push(value)
  }
  report.used = texts.length
  return { texts, report }
}

/** Token ids of texts; those longer than `maxLength` are cut on the left or dropped, and counted. */
export async function tokeniseTexts(
  tokenizer: Tokenizer,
  texts: readonly string[],
  options: { maxLength: number; overLong: 'truncate-left' | 'drop'; report?: DataReport },
): Promise<{ rows: Int32Array[]; report: DataReport }> {
  const report = options.report ?? { ...emptyReport(), rows: texts.length, used: texts.length }
  const encoded = await tokenizer.encodeBatch(texts)
  const rows: Int32Array[] = []
  for (const [index, ids] of encoded.entries()) {
    const isLong = ids.length > options.maxLength
    if (ids.length === 0) countDropped(report, 'empty', `text ${index + 1}`)
    else if (isLong && options.overLong === 'drop') countDropped(report, 'overLong', `text ${index + 1}`)
    else {
      if (isLong) report.truncated++
      rows.push(tokenizer.truncate(ids, options.maxLength))
      continue
    }
    report.used--
  }
  return { rows, report }
}
