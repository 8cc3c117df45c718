/**
 * Where the study keeps what it has done. A stage lives in stages/<name>-<key>: the key hashes all that the stage depends on, so a changed
 * setting redoes only what follows from it. done.json is written last, by rename: a kill at any moment leaves a stage done or not done.
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { PrudentError } from '../errors.js'
import { writeFileAtomic } from '../run/atomic-files.js'

export interface StageContext {
  folder: string
  /** Hash of name and dependencies; goes into the keys of what depends on this stage. */
  key: string
}

export interface StageResult<T> extends StageContext {
  value: T
  seconds: number
  /** Found done. */
  cached: boolean
}

export interface StageObserver {
  started?(name: string): void
  finished?(name: string, result: { seconds: number; cached: boolean }): void
}

export class StageStore {
  readonly #root: string
  readonly #observer: StageObserver
  readonly #timings = new Map<string, { seconds: number; units: number }>()

  constructor(runFolder: string, observer: StageObserver = {}) {
    this.#root = path.join(runFolder, 'stages')
    this.#observer = observer
  }

  /** Runs `work` unless its result is there already. Its result must survive JSON. */
  async stage<T>(
    name: string,
    dependencies: unknown,
    work: (context: StageContext) => Promise<T>,
  ): Promise<StageResult<T>> {
    const key = hashOf([name, dependencies])
    const folder = path.join(this.#root, `${name}-${key}`)
    const known = await readJson<{ value: T; seconds: number }>(path.join(folder, 'done.json'))
    if (known) return this.#finish(name, { ...known, folder, key, cached: true })
    this.#observer.started?.(name)
    await mkdir(folder, { recursive: true })
    const start = performance.now()
    const value = await work({ folder, key })
    const seconds = (performance.now() - start) / 1000
    await writeFileAtomic(path.join(folder, 'done.json'), `${JSON.stringify({ value, seconds })}\n`)
    return this.#finish(name, { value, seconds, folder, key, cached: false })
  }

  /** Resumable part of a stage: one JSON file in the stage's folder. */
  async unit<T>(context: StageContext, name: string, work: () => Promise<T>): Promise<T & { seconds: number }> {
    const file = path.join(context.folder, `${name}.json`)
    const known = await readJson<T & { seconds: number }>(file)
    if (known) return known
    const start = performance.now()
    const value = { ...(await work()), seconds: (performance.now() - start) / 1000 }
    await writeFileAtomic(file, `${JSON.stringify(value)}\n`)
    return value
  }

  /** Seconds of computing per stage, those of earlier runs included. */
  timings(): { stage: string; seconds: number; units: number }[] {
    return [...this.#timings].map(([stage, timing]) => ({ stage, ...timing }))
  }

  #finish<T>(name: string, result: StageResult<T>): StageResult<T> {
    this.#timings.set(name, { seconds: result.seconds, units: 1 })
    this.#observer.finished?.(name, result)
    return result
  }
}

/** Twelve hexadecimal digits of the SHA-256 of a value's JSON. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 12)
}

export async function hashOfFile(file: string): Promise<string> {
  const bytes = await readFile(file).catch((cause) => {
    throw new PrudentError('E_NOT_FOUND', `${file}: cannot be read`, { cause })
  })
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}

/** null when the file is missing; a file that is no JSON (a damaged disk) is removed and made again. */
async function readJson<T>(file: string): Promise<T | null> {
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null) return null
  try {
    return JSON.parse(text) as T
  } catch {
    await rm(file, { force: true })
    return null
  }
}
