import { makeFolder } from '../../run/atomic-files.js'
import { lockRun } from '../../run/lock.js'

/** Runs `body` with the output folder made and locked. */
export async function withOutput<T>(folder: string, body: () => Promise<T>): Promise<T> {
  await makeFolder(folder)
  const lock = await lockRun(folder)
  try {
    return await body()
  } finally {
    await lock.release()
  }
}
