import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PrudentError } from '../errors.js'
import { isMissing, listFiles, readError, syncPath, syncTree, writeError, writeFileAtomic } from './atomic-files.js'
import { makeFolder } from './folders.js'

/** A complete checkpoint. */
export interface Checkpoint {
  step: number
  folder: string
  /** What the loop saved beside its files. */
  state: Record<string, unknown>
  /** Lower is better; null for checkpoints that were not measured. */
  loss: number | null
}

interface Manifest {
  format: 1
  step: number
  loss: number | null
  state: Record<string, unknown>
  files: { name: string; size: number; sha256: string }[]
}

const MANIFEST = 'manifest.json'

/**
 * checkpoints/step-N/. A checkpoint is written into a folder of another name, flushed, its manifest with sizes and SHA-256 last,
 * then renamed: a folder with the right name is whole.
 */
export class Checkpoints {
  readonly folder: string
  readonly #keep: number

  constructor(folder: string, options: { keep: number }) {
    this.folder = folder
    this.#keep = options.keep
  }

  /**
   * `write` fills the folder it is given, which need not be synced. Returns what makes a checkpoint of it: until that has ended there is none,
   * and no other may be begun.
   */
  async begin(
    step: number,
    state: Record<string, unknown>,
    loss: number | null,
    write: (folder: string) => Promise<void>,
  ): Promise<() => Promise<void>> {
    const target = join(this.folder, `step-${step}`)
    const partial = join(this.folder, `.step-${step}.${process.pid}.partial`)
    await this.removePartial()
    try {
      await makeFolder(partial)
      await write(partial)
    } catch (cause) {
      await rm(partial, { recursive: true, force: true })
      throw writeError(target, cause)
    }
    return () => this.#complete(partial, target, { step, state, loss })
  }

  async #complete(partial: string, target: string, of: Pick<Manifest, 'step' | 'state' | 'loss'>): Promise<void> {
    const { step, state, loss } = of
    try {
      await syncTree(partial)
      const manifest: Manifest = { format: 1, step, loss, state, files: await describeFiles(partial) }
      const body = JSON.stringify(manifest)
      await writeFileAtomic(
        join(partial, MANIFEST),
        `${JSON.stringify({ sha256: digestOf(body), manifest }, null, 1)}\n`,
      )
      await rm(target, { recursive: true, force: true })
      await rename(partial, target)
      await syncPath(this.folder)
    } catch (cause) {
      await rm(partial, { recursive: true, force: true })
      throw writeError(target, cause)
    }
    // The new one is there whatever becomes of the old ones.
    await this.#prune(target).catch((cause) => {
      throw writeError(this.folder, cause)
    })
  }

  /**
   * The newest checkpoint that is whole, its files read and compared.
   * @returns null when there is none at all
   * @throws E_CORRUPT_FILE when there are checkpoints and none is whole
   */
  async newest(warn: (message: string) => void): Promise<Checkpoint | null> {
    const failures: PrudentError[] = []
    for (const step of (await this.steps()).reverse()) {
      try {
        const checkpoint = await readCheckpoint(join(this.folder, `step-${step}`), step)
        for (const failure of failures) warn(`${failure.message}; going back to step ${step}`)
        return checkpoint
      } catch (error) {
        if (!(error instanceof PrudentError) || error.code !== 'E_CORRUPT_FILE') throw error
        failures.push(error)
      }
    }
    const first = failures[0]
    if (first === undefined) return null
    throw new PrudentError('E_CORRUPT_FILE', `${first.message}; no whole checkpoint is left in ${this.folder}`, {
      cause: first,
    })
  }

  /** Steps of all checkpoints, ascending. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.folder).catch((error) => {
      if (isMissing(error)) return [] as string[]
      throw readError(this.folder, error)
    })
    const steps = names.map((name) => /^step-(\d+)$/.exec(name)?.[1]).filter((step) => step !== undefined)
    return steps.map(Number).sort((a, b) => a - b)
  }

  /** Removes what a killed process left half-written. */
  async removePartial(): Promise<void> {
    const names = await readdir(this.folder).catch(() => [] as string[])
    for (const name of names.filter((each) => each.endsWith('.partial'))) {
      const path = join(this.folder, name)
      await rm(path, { recursive: true, force: true }).catch((cause) => {
        throw writeError(path, cause)
      })
    }
  }

  /** Keeps the newest ones and the one of the lowest loss. */
  async #prune(saved: string): Promise<void> {
    const steps = await this.steps()
    const old = steps.slice(0, Math.max(0, steps.length - this.#keep))
    if (old.length === 0) return
    const losses = new Map<number, number>()
    for (const step of steps) {
      const manifest = await readManifest(join(this.folder, `step-${step}`)).catch(() => null)
      if (manifest !== null && manifest.loss !== null) losses.set(step, manifest.loss)
    }
    const best = [...losses].sort((a, b) => a[1] - b[1] || b[0] - a[0])[0]?.[0]
    for (const step of old) {
      const folder = join(this.folder, `step-${step}`)
      if (step !== best && folder !== saved) await removeFolder(folder)
    }
  }
}

/** The name goes first: what is left of a removal that was cut short must not look like a checkpoint. */
async function removeFolder(folder: string): Promise<void> {
  const aside = join(folder, '..', `.${folder.split('/').at(-1)}.${process.pid}.partial`)
  await rename(folder, aside)
  await rm(aside, { recursive: true, force: true })
}

async function readCheckpoint(folder: string, step: number): Promise<Checkpoint> {
  const manifest = await readManifest(folder)
  if (manifest.step !== step) throw corrupt(join(folder, MANIFEST), `is of step ${manifest.step}`)
  for (const file of manifest.files) await checkFile(join(folder, file.name), file)
  return { step, folder, state: manifest.state, loss: manifest.loss }
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST)
  let parsed: { sha256: string; manifest: Manifest }
  try {
    parsed = JSON.parse(await readFile(path, 'utf8'))
  } catch (cause) {
    throw corrupt(path, isMissing(cause) ? 'is missing' : 'is not JSON', cause)
  }
  const { sha256, manifest } = parsed
  if (manifest?.format !== 1 || digestOf(JSON.stringify(manifest)) !== sha256)
    throw corrupt(path, 'does not match its own SHA-256')
  return manifest
}

async function checkFile(path: string, expected: { size: number; sha256: string }): Promise<void> {
  const info = await stat(path).catch(() => null)
  if (info === null) throw corrupt(path, 'is missing')
  if (info.size !== expected.size) throw corrupt(path, `has ${info.size} bytes, the manifest says ${expected.size}`)
  if ((await hashFile(path)) !== expected.sha256) throw corrupt(path, 'does not match the SHA-256 of the manifest')
}

async function describeFiles(folder: string): Promise<Manifest['files']> {
  const files: Manifest['files'] = []
  for (const name of await listFiles(folder)) {
    const path = join(folder, name)
    files.push({ name, size: (await stat(path)).size, sha256: await hashFile(path) })
  }
  return files
}

async function hashFile(path: string): Promise<string> {
  const hash: Hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function corrupt(path: string, problem: string, cause?: unknown): PrudentError {
  return new PrudentError('E_CORRUPT_FILE', `${path}: ${problem}`, { argument: path, cause })
}
