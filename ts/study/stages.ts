/**
 * Where the study keeps what it has done. A stage lives in stages/<name>-<key>: the key hashes all that the stage depends on, so a changed
 * setting redoes only what follows from it. done.json is written last, by rename: a kill at any moment leaves a stage done or not done.
 * Several processes may work on one study; see claims.ts.
 */
import { createHash } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { PrudentError } from '../errors.js'
import { writeFileAtomic } from '../run/atomic-files.js'
import { makeFolder } from '../run/folders.js'
import { Claims } from './claims.js'
import { runPool } from './pool.js'
import { inShardOrder } from './shards.js'

export interface StageContext {
  folder: string
  /** Hash of name and dependencies; goes into the keys of what depends on this stage. */
  key: string
}

export interface SharedContext extends StageContext {
  name: string
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

export interface StageStoreOptions extends StageObserver {
  claims?: Claims
  /** Nothing is run: what is not there is refused by name. */
  readOnly?: boolean
}

export interface StageChecks<T> {
  /** Whether what the stage left outside of its folder is still there; where it is not, the stage is done again. */
  isWhole?: (value: T) => Promise<boolean>
}

/** A part of a stage that is done once, by one process, and kept as one JSON file in the stage's folder. */
export interface Unit<T> {
  name: string
  work: () => Promise<T>
}

export interface UnitOptions {
  /** Units at once in this process. */
  width: number
  signal?: AbortSignal
  /** Number of units that are done, whoever did them. */
  progress?: (done: number, total: number) => void
}

interface Kept<T> {
  value: T
  seconds: number
}

export class StageStore {
  readonly #root: string
  readonly #options: StageStoreOptions
  readonly #claims: Claims
  readonly #timings = new Map<string, { seconds: number; units: number }>()
  /** Folders of shared stages in which this process has run a unit. */
  readonly #begun = new Set<string>()

  constructor(runFolder: string, options: StageStoreOptions = {}) {
    this.#root = path.join(runFolder, 'stages')
    this.#options = options
    this.#claims = options.claims ?? new Claims()
  }

  /** Runs `work` unless its result is there already; other processes wait for it meanwhile. Its result must survive JSON. */
  async stage<T>(
    name: string,
    dependencies: unknown,
    work: (context: StageContext) => Promise<T>,
    { isWhole = async () => true }: StageChecks<T> = {},
  ): Promise<StageResult<T>> {
    const context = this.#contextOf(name, dependencies)
    const done = path.join(context.folder, 'done.json')
    const readDone = async () => {
      const kept = await readJson<Kept<T>>(done)
      return kept && (await isWhole(kept.value)) ? kept : null
    }
    for (;;) {
      const known = await readDone()
      if (known) return this.#finish(name, { ...known, ...context, cached: true })
      if (this.#options.readOnly) throw hole([`stage ${name}`])
      const lock = await this.#claims.take(path.join(context.folder, 'stage.lock'))
      if (lock === null) {
        await this.#claims.pause(name)
        continue
      }
      try {
        if (await readDone()) continue
        return this.#finish(name, { ...(await this.#run(name, context, work)), ...context, cached: false })
      } finally {
        await lock.release()
      }
    }
  }

  async #run<T>(name: string, context: StageContext, work: (context: StageContext) => Promise<T>): Promise<Kept<T>> {
    this.#options.started?.(name)
    await makeFolder(context.folder)
    const start = performance.now()
    const value = await work(context)
    const seconds = (performance.now() - start) / 1000
    await writeFileAtomic(path.join(context.folder, 'done.json'), `${JSON.stringify({ value, seconds })}\n`)
    return { value, seconds }
  }

  /**
   * A stage that is nothing but what follows from its units: every process walks through it, and each unit is done by one of them.
   * `work` must give the same from the same units.
   */
  async sharedStage<T>(
    name: string,
    dependencies: unknown,
    work: (context: SharedContext) => Promise<T>,
  ): Promise<StageResult<T>> {
    const context = { ...this.#contextOf(name, dependencies), name }
    const done = path.join(context.folder, 'done.json')
    const start = performance.now()
    const value = await work(context)
    const own = (performance.now() - start) / 1000
    const known = await readJson<{ seconds: number }>(done)
    if (!known && !this.#options.readOnly) {
      await makeFolder(context.folder)
      await writeFileAtomic(done, `${JSON.stringify({ seconds: own })}\n`)
    }
    const { folder, key } = context
    return this.#finish(name, { value, seconds: known?.seconds ?? own, folder, key, cached: !this.#begun.has(folder) })
  }

  /** All units of a shared stage, in the order given: those of this shard first, then what nobody has begun, then waits for the rest. */
  async units<T>(
    stage: SharedContext,
    units: readonly Unit<T>[],
    options: UnitOptions,
  ): Promise<(T & { seconds: number })[]> {
    const results = new Map<string, T & { seconds: number }>()
    const attempt = (unit: Unit<T>) => async () => {
      const result = await this.#unit(stage, unit)
      if (result === null) return
      results.set(unit.name, result)
      options.progress?.(results.size, units.length)
    }
    for (;;) {
      const open = inShardOrder(units, this.#claims.shard).filter((unit) => !results.has(unit.name))
      await runPool(open.map(attempt), options.width, options.signal)
      const missing = units.filter((unit) => !results.has(unit.name))
      if (missing.length === 0) break
      if (this.#options.readOnly) throw hole(missing.map((unit) => unit.name))
      await this.#claims.pause((missing[0] as Unit<T>).name)
    }
    return units.map((unit) => results.get(unit.name) as T & { seconds: number })
  }

  /** null while another process works on it. */
  async #unit<T>(stage: SharedContext, unit: Unit<T>): Promise<(T & { seconds: number }) | null> {
    const file = path.join(stage.folder, `${unit.name}.json`)
    const read = () => readJson<T & { seconds: number }>(file)
    const known = await read()
    if (known || this.#options.readOnly) return known
    const lock = await this.#claims.take(path.join(stage.folder, `${unit.name}.lock`))
    if (lock === null) return null
    try {
      const meanwhile = await read()
      if (meanwhile) return meanwhile
      this.#begin(stage)
      const start = performance.now()
      const value = { ...(await unit.work()), seconds: (performance.now() - start) / 1000 }
      await writeFileAtomic(file, `${JSON.stringify(value)}\n`)
      return value
    } finally {
      await lock.release()
    }
  }

  #begin({ name, folder }: SharedContext): void {
    if (!this.#begun.has(folder)) this.#options.started?.(name)
    this.#begun.add(folder)
  }

  #contextOf(name: string, dependencies: unknown): StageContext {
    const key = hashOf([name, dependencies])
    return { folder: path.join(this.#root, `${name}-${key}`), key }
  }

  /** Seconds of computing per stage, those of earlier runs included. */
  timings(): { stage: string; seconds: number; units: number }[] {
    return [...this.#timings].map(([stage, timing]) => ({ stage, ...timing }))
  }

  #finish<T>(name: string, result: StageResult<T>): StageResult<T> {
    this.#timings.set(name, { seconds: result.seconds, units: 1 })
    this.#options.finished?.(name, result)
    return result
  }
}

/** @param missing what is not there, by name */
function hole(missing: readonly string[]): PrudentError {
  const listed = `${missing.slice(0, 10).join(', ')}${missing.length > 10 ? ` and ${missing.length - 10} more` : ''}`
  return new PrudentError('E_STATE', `aggregate: the study is not complete: ${listed} missing`, {
    expected: 'every stage and policy of the plan',
    received: `without ${listed}`,
  })
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
