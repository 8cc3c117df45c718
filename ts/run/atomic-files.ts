import { randomUUID } from 'node:crypto'
import { open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PrudentError } from '../errors.js'

/** Writes a file so that its name only ever stands for the old or the whole new content, even after a power cut. */
export async function writeFileAtomic(path: string, content: string | Uint8Array): Promise<void> {
  // On a shared file system a process of another machine can have this one's pid.
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.${randomUUID().slice(0, 8)}.partial`)
  try {
    const file = await open(partial, 'w')
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
    await syncPath(dirname(path))
  } catch (cause) {
    await rm(partial, { force: true })
    throw writeError(path, cause)
  }
}

/** Flushes a file, or the entries of a folder, to the disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Flushes everything below a folder, the folders themselves included. */
export async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await syncTree(path)
    else await syncPath(path)
  }
  await syncPath(folder)
}

/** Files below a folder, relative paths with `/`, sorted. */
export async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const nested = entries.map(async (entry) => {
    if (!entry.isDirectory()) return [entry.name]
    return (await listFiles(join(folder, entry.name))).map((name) => `${entry.name}/${name}`)
  })
  return (await Promise.all(nested)).flat().sort()
}

export function writeError(path: string, cause: unknown): PrudentError {
  if (cause instanceof PrudentError) return cause
  return new PrudentError('E_IO', `${path}: cannot be written: ${(cause as Error).message}`, { cause })
}

export function readError(path: string, cause: unknown): PrudentError {
  return new PrudentError('E_IO', `${path}: cannot be read: ${(cause as Error).message}`, { cause })
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === 'ENOENT'
}
