import { mkdir, stat } from 'node:fs/promises'
import { PrudentError } from '../../errors.js'
import { lockRun } from '../../run/lock.js'

/** Runs `body` with the output folder made and locked. */
export async function withOutput<T>(folder: string, body: () => Promise<T>): Promise<T> {
  const there = await stat(folder).catch(() => null)
  if (there !== null && !there.isDirectory()) {
    throw new PrudentError('E_EXISTS', `${folder}: is a file, expected a folder`, { argument: '--output' })
  }
  await mkdir(folder, { recursive: true }).catch((cause: Error) => {
    throw new PrudentError('E_IO', `${folder}: cannot be made: ${cause.message}`, { argument: '--output', cause })
  })
  const lock = await lockRun(folder)
  try {
    return await body()
  } finally {
    await lock.release()
  }
}
