import { type FileHandle, open, readFile } from 'node:fs/promises'
import { PrudentError } from '../errors.js'
import { isMissing, readError, writeError, writeFileAtomic } from './atomic-files.js'

/** One line of metrics.jsonl. */
export type MetricsEntry = { step: number } & Record<string, number>

/**
 * metrics.jsonl: one object a step, appended. A process that dies while it writes leaves a torn last line; opening cuts it, and
 * whatever came after the checkpoint that the run goes on from.
 */
export class MetricsLog {
  readonly path: string
  #file: FileHandle | null = null
  #entries: MetricsEntry[]

  private constructor(path: string, entries: MetricsEntry[]) {
    this.path = path
    this.#entries = entries
  }

  static async open(path: string): Promise<MetricsLog> {
    const { entries, torn } = await readMetrics(path)
    const log = new MetricsLog(path, entries)
    if (torn) await log.#rewrite()
    return log
  }

  /** Everything written so far, in order. */
  get entries(): readonly MetricsEntry[] {
    return this.#entries
  }

  async append(entry: MetricsEntry): Promise<void> {
    try {
      this.#file ??= await open(this.path, 'a')
      await this.#file.writeFile(`${JSON.stringify(entry, finiteOrName)}\n`)
    } catch (cause) {
      throw writeError(this.path, cause)
    }
    this.#entries.push(entry)
  }

  /** Forgets the steps after `step`. */
  async truncate(step: number): Promise<void> {
    const kept = this.#entries.filter((entry) => entry.step <= step)
    if (kept.length === this.#entries.length) return
    this.#entries = kept
    await this.#rewrite()
  }

  /** Flushes to the disk: called before a checkpoint counts. */
  async sync(): Promise<void> {
    await this.#file?.sync().catch((cause) => {
      throw writeError(this.path, cause)
    })
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = null
    await file?.close()
  }

  async #rewrite(): Promise<void> {
    await this.close()
    await writeFileAtomic(this.path, this.#entries.map((entry) => `${JSON.stringify(entry, finiteOrName)}\n`).join(''))
  }
}

/** Reads metrics.jsonl. An incomplete last line is reported as `torn`; a broken line before it is E_CORRUPT_FILE. */
export async function readMetrics(path: string): Promise<{ entries: MetricsEntry[]; torn: boolean }> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return { entries: [], torn: false }
    throw readError(path, error)
  }
  const lines = text.split('\n')
  const last = lines.pop() ?? ''
  const entries = lines.map((line, index) => {
    try {
      return JSON.parse(line, numberOfName) as MetricsEntry
    } catch (cause) {
      throw new PrudentError('E_CORRUPT_FILE', `${path}:${index + 1}: not a JSON object`, { cause })
    }
  })
  return { entries, torn: last !== '' }
}

/** JSON has no NaN and no infinities; they are written by name, as text. */
export function finiteOrName(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

function numberOfName(_key: string, value: unknown): unknown {
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : value
}
