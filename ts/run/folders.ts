import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PrudentError } from '../errors.js'

/**
 * Makes a folder that a user has named, and those above it; one that is there is left as it is.
 * @throws E_EXISTS where a file has the name, E_IO where no folder can be made
 */
export async function makeFolder(folder: string): Promise<void> {
  const there = await stat(folder).catch(() => null)
  if (there?.isDirectory()) return
  if (there !== null)
    throw new PrudentError('E_EXISTS', `${folder}: is a file, expected a folder`, { argument: 'folder' })
  await makeWithParents(folder).catch((cause: Error) => {
    throw new PrudentError('E_IO', `${folder}: cannot be made: ${cause.message}`, { argument: 'folder', cause })
  })
}

/** Node's own recursion never ends where a folder that exists takes no new one, as in /proc. */
async function makeWithParents(folder: string): Promise<void> {
  try {
    await makeOne(folder)
  } catch (error) {
    const above = dirname(folder)
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw error
    await makeWithParents(above)
    await makeOne(folder)
  }
}

/** Another process may be the faster one. */
async function makeOne(folder: string): Promise<void> {
  await mkdir(folder).catch(async (error: NodeJS.ErrnoException) => {
    const there = error.code === 'EEXIST' && (await stat(folder)).isDirectory()
    if (!there) throw error
  })
}
