import { open } from 'node:fs/promises'
import type { AsyncBuffer, FileMetaData } from 'hyparquet'
import { PrudentError } from '../errors.js'
import type { Row } from './rows.js'

/**
 * Rows of a Parquet file, one row group in memory at a time. int64 becomes a number where that is exact and stays a BigInt
 * elsewhere; nested lists and structs become arrays and objects.
 * @throws E_NOT_FOUND for a missing file or column, E_CORRUPT_FILE for a damaged file.
 */
export async function* readParquet(path: string, columns?: readonly string[]): AsyncGenerator<Row> {
  const { parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
  const { compressors } = await import('hyparquet-compressors')
  const file = await openFile(path)
  try {
    if (file.buffer.byteLength === 0) damaged(path, new Error('it is empty'))
    const metadata = await parquetMetadataAsync(file.buffer).catch((cause) => damaged(path, cause))
    const known = topLevelColumns(metadata)
    const missing = columns?.find((column) => !known.includes(column))
    if (missing !== undefined) throw missingColumn(path, missing, known)
    const promised = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0)
    if (promised !== Number(metadata.num_rows))
      damaged(path, new Error('its row groups do not add up to its number of rows'))
    let start = 0
    for (const group of metadata.row_groups) {
      const end = start + Number(group.num_rows)
      const request = { file: file.buffer, metadata, compressors, rowStart: start, rowEnd: end }
      const rows = await parquetReadObjects(
        columns === undefined ? request : { ...request, columns: [...columns] },
      ).catch((cause) => damaged(path, cause))
      if (rows.length !== end - start)
        damaged(path, new Error(`${rows.length} rows where the header promises ${end - start}`))
      for (const [index, row] of rows.entries())
        yield { values: plainValue(row) as Row['values'], file: path, number: start + index + 1 }
      start = end
    }
  } finally {
    await file.close()
  }
}

export function missingColumn(path: string, column: string, known: readonly string[]): PrudentError {
  return new PrudentError('E_NOT_FOUND', `${path}: no column "${column}"; there is ${known.join(', ')}`, {
    argument: 'columns',
    expected: known.join(', '),
    received: column,
  })
}

async function openFile(path: string): Promise<{ buffer: AsyncBuffer; close: () => Promise<void> }> {
  const handle = await open(path).catch((cause: NodeJS.ErrnoException) => {
    const code = cause.code === 'ENOENT' ? 'E_NOT_FOUND' : 'E_IO'
    throw new PrudentError(code, `${path}: ${code === 'E_NOT_FOUND' ? 'no such file' : cause.message}`, { cause })
  })
  const { size } = await handle.stat()
  const slice = async (start: number, end = size) => {
    const bytes = new Uint8Array(Math.max(0, end - start))
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start)
    return bytes.buffer.slice(0, bytesRead)
  }
  return { buffer: { byteLength: size, slice }, close: () => handle.close() }
}

function damaged(path: string, cause: unknown): never {
  throw new PrudentError('E_CORRUPT_FILE', `${path}: not a whole Parquet file: ${(cause as Error).message}`, { cause })
}

/** The schema is a depth-first list; the root comes first, and only its direct children are columns. */
function topLevelColumns(metadata: FileMetaData): string[] {
  const names: string[] = []
  const elements = metadata.schema
  let index = 1
  const skip = () => {
    const children = elements[index++]?.num_children ?? 0
    for (let child = 0; child < children; child++) skip()
  }
  while (index < elements.length) {
    names.push(elements[index]?.name ?? '')
    skip()
  }
  return names
}

function plainValue(value: unknown): unknown {
  // The reader gives undefined for a null list.
  if (value === undefined) return null
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (Array.isArray(value)) return value.map(plainValue)
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plainValue(inner)]))
}
