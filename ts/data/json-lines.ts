import { createReadStream } from 'node:fs'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { PrudentError } from '../errors.js'

export interface JsonLine {
  value: unknown
  /** 1-based line in the file. */
  line: number
}

export interface TextLine {
  text: string
  line: number
}

/** The bytes of a file, unpacked where its name ends in .gz, in capitals too; `-` is standard input. */
export function openBytes(path: string): Readable {
  if (path === '-') return process.stdin
  const bytes = createReadStream(path)
  if (!path.toLowerCase().endsWith('.gz')) return bytes
  // pipeline hands errors of the file on to the reader.
  return pipeline(bytes, createGunzip(), () => {})
}

/** How errors name an input. */
export function inputName(path: string): string {
  return path === '-' ? 'standard input' : path
}

/**
 * Lines of UTF-8 text in bounded memory; \n and \r\n end a line, a byte order mark is skipped.
 * @throws E_NOT_FOUND, E_IO, or E_CORRUPT_FILE where the bytes are not UTF-8 or not gzip.
 */
export async function* readLines(path: string, bytes: Readable = openBytes(path)): AsyncGenerator<TextLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let pending: Uint8Array[] = []
  let line = 1
  try {
    for await (const chunk of bytes) {
      const buffer = chunk as Uint8Array
      let start = 0
      for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
        pending.push(buffer.subarray(start, end))
        yield decodeLine(decoder, pending, line)
        line++
        pending = []
        start = end + 1
      }
      if (start < buffer.length) pending.push(buffer.subarray(start))
    }
    if (pending.length > 0) yield decodeLine(decoder, pending, line)
  } catch (cause) {
    throw readError(path, line, cause)
  }
}

const NEWLINE = 10

function decodeLine(decoder: InstanceType<typeof TextDecoder>, parts: Uint8Array[], line: number): TextLine {
  const only = parts.length === 1 ? parts[0] : undefined
  let text = decoder.decode(only ?? Buffer.concat(parts))
  if (line === 1 && text.startsWith('\uFEFF')) text = text.slice(1)
  return { text: text.endsWith('\r') ? text.slice(0, -1) : text, line }
}

function readError(path: string, line: number, cause: unknown): PrudentError {
  if (cause instanceof PrudentError) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  const name = inputName(path)
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new PrudentError('E_NOT_FOUND', `${name}: no such file`, { cause })
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return new PrudentError('E_CORRUPT_FILE', `${name}:${line}: not UTF-8 text`, { cause })
  }
  if (code?.startsWith('Z_') || code === 'ERR_BUFFER_TOO_LARGE') {
    return new PrudentError('E_CORRUPT_FILE', `${name}: not a whole gzip file: ${message}`, { cause })
  }
  return new PrudentError('E_IO', `${name}: ${message}`, { cause })
}

/** JSON values, one a line; blank lines are skipped. A line that is no JSON is an E_DATA naming file and line. */
export async function* readJsonLines(path: string, bytes?: Readable): AsyncGenerator<JsonLine> {
  for await (const { text, line } of readLines(path, bytes)) {
    if (text.trim() === '') continue
    yield { value: parseLine(text, path, line), line }
  }
}

function parseLine(text: string, path: string, line: number): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PrudentError('E_DATA', `${inputName(path)}:${line}: not JSON: ${(cause as Error).message}`, { cause })
  }
}
