import { rmSync } from 'node:fs'
import { type FileHandle, lstat, open, rename, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { PrudentError } from '../../errors.js'
import { makeFolder } from '../../run/folders.js'

/** Where a command writes its data: a file that appears whole or not at all, or standard output (`-`). */
export interface Output {
  write(text: string | Uint8Array): Promise<void>
  /** Makes the file appear under its name. */
  commit(): Promise<void>
  /** Removes what was written, unless committed; safe twice. */
  discard(): Promise<void>
}

/**
 * Opens an output before any expensive work, so that a refusal comes at once. A file is written beside its name and renamed,
 * packed where the name ends in .gz, as it is read.
 * @throws E_EXISTS if the file exists and `overwrite` is off, E_IO if it cannot be written.
 */
export async function openOutput(path: string, options: { overwrite?: boolean } = {}): Promise<Output> {
  if (path === '-') return standardOutput()
  const existing = await stat(path).catch(() => null)
  if (existing?.isDirectory()) throw new PrudentError('E_EXISTS', `${path}: is a folder`, { argument: '--output' })
  // Devices and pipes (/dev/null, /dev/stdout, a FIFO) are written to, never replaced.
  if (existing !== null && !existing.isFile()) return packedByName(directOutput(await openFor(path, 'w'), path), path)
  if (existing !== null && !options.overwrite) {
    throw new PrudentError('E_EXISTS', `${path}: exists already; pass --overwrite to replace it`, {
      argument: '--output',
    })
  }
  return packedByName(await besideOutput(path), path)
}

/** A member of the gzip file a write; one at least, since an empty file is none. */
function packedByName(output: Output, path: string): Output {
  if (!path.toLowerCase().endsWith('.gz')) return output
  let members = 0
  const write = async (text: string | Uint8Array) => {
    members++
    await output.write(await promisify(gzip)(text))
  }
  const commit = async () => {
    if (members === 0) await write('')
    await output.commit()
  }
  return { ...output, write, commit }
}

function standardOutput(): Output {
  return {
    async write(text) {
      if (process.stdout.write(text)) return
      await new Promise<void>((resolve) => {
        const done = () => {
          process.stdout.off('drain', done).off('close', done).off('error', done)
          resolve()
        }
        process.stdout.on('drain', done).on('close', done).on('error', done)
      })
    },
    async commit() {},
    async discard() {},
  }
}

function directOutput(file: FileHandle, path: string): Output {
  const writer = checkedWriter(file, path)
  const close = once(() => file.close())
  return { ...writer, commit: close, discard: close }
}

async function besideOutput(path: string): Promise<Output> {
  // A link is followed, so that its target changes and the link stays.
  const target = (await lstat(path).catch(() => null))?.isSymbolicLink() ? await followLink(path) : path
  const partial = join(dirname(target), `.${basename(target)}.${process.pid}.partial`)
  await makeFolder(dirname(target)).catch((cause) => fail(target, cause))
  const file = await openFor(partial, 'w')
  // A second signal ends the process at once: no half-written file stays behind then either.
  const removeNow = () => rmSync(partial, { force: true })
  process.once('exit', removeNow)
  const close = once(() => file.close())
  const finish = () => process.off('exit', removeNow)
  return {
    ...checkedWriter(file, path),
    async commit() {
      try {
        await file.sync()
        await close()
        await rename(partial, target)
      } catch (cause) {
        fail(path, cause)
      }
      finish()
    },
    async discard() {
      await close()
      removeNow()
      finish()
    },
  }
}

async function followLink(path: string): Promise<string> {
  const { realpath } = await import('node:fs/promises')
  return realpath(path).catch(() => path)
}

function checkedWriter(file: FileHandle, path: string): Pick<Output, 'write'> {
  return {
    async write(text) {
      await file.writeFile(text).catch((cause) => fail(path, cause))
    },
  }
}

async function openFor(path: string, flags: string): Promise<FileHandle> {
  return open(path, flags).catch((cause) => fail(path, cause))
}

function fail(path: string, cause: unknown): never {
  throw new PrudentError('E_IO', `${path}: cannot be written: ${(cause as Error).message}`, {
    argument: '--output',
    cause,
  })
}

function once(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null
  return () => {
    running ??= action()
    return running
  }
}
