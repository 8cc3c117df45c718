import { PrudentError } from '../errors.js'
import { readJsonLines, readLines } from './json-lines.js'
import { missingColumn, readParquet } from './parquet.js'
import { isObject, type JsonObject } from './tokenizer-files.js'

/** One row of a data set and where it came from. */
export interface Row {
  values: JsonObject
  file: string
  /** 1-based: the line of a JSONL file, the row of a Parquet or JSON file. */
  number: number
}

/** Endings of the data files that can be read. */
export const DATA_ENDINGS = ['.parquet', '.jsonl', '.json', '.ndjson', '.jsonl.gz', '.json.gz', '.ndjson.gz'] as const

export function isDataFile(name: string): boolean {
  return DATA_ENDINGS.some((ending) => name.toLowerCase().endsWith(ending))
}

/** `file:number`, as errors name a row. */
export function rowPlace(row: Pick<Row, 'file' | 'number'>): string {
  return `${row.file}:${row.number}`
}

/** Rows of the files in order; with `columns`, rows hold those alone and each must exist. */
export async function* readRows(files: readonly string[], columns?: readonly string[]): AsyncGenerator<Row> {
  for (const file of files) {
    if (file.toLowerCase().endsWith('.parquet')) yield* readParquet(file, columns)
    else yield* readJson(file, columns)
  }
}

async function* readJson(file: string, columns: readonly string[] | undefined): AsyncGenerator<Row> {
  const lines = /\.json(\.gz)?$/i.test(file) && (await holdsArray(file)) ? readArray(file) : readJsonLines(file)
  for await (const { value, line } of lines) {
    if (!isObject(value))
      throw new PrudentError('E_DATA', `${file}:${line}: expected an object, received ${kindOf(value)}`)
    yield { values: columns === undefined ? value : selected(value, columns, file, line), file, number: line }
  }
}

function selected(values: JsonObject, columns: readonly string[], file: string, line: number): JsonObject {
  const missing = columns.find((column) => !Object.hasOwn(values, column))
  if (missing !== undefined) throw missingColumn(`${file}:${line}`, missing, Object.keys(values))
  return Object.fromEntries(columns.map((column) => [column, values[column]]))
}

/** A .json file may hold one array of rows or, like many on the hub, JSON Lines. */
async function holdsArray(file: string): Promise<boolean> {
  for await (const { text } of readLines(file)) {
    if (text.trim() !== '') return text.trimStart().startsWith('[')
  }
  return false
}

async function* readArray(file: string): AsyncGenerator<{ value: unknown; line: number }> {
  const texts: string[] = []
  for await (const { text } of readLines(file)) texts.push(text)
  let values: unknown
  try {
    values = JSON.parse(texts.join('\n'))
  } catch (cause) {
    throw new PrudentError('E_CORRUPT_FILE', `${file}: not JSON: ${(cause as Error).message}`, { cause })
  }
  if (!Array.isArray(values))
    throw new PrudentError('E_DATA', `${file}: expected an array of rows, received ${kindOf(values)}`)
  for (const [index, value] of values.entries()) yield { value, line: index + 1 }
}

/** The kind of a JSON value, as errors name it. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
