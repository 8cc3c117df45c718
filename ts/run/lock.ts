import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { PrudentError } from '../errors.js'
import { isMissing, writeError } from './atomic-files.js'

interface Owner {
  pid: number
  host: string
  /** Start of the process in clock ticks since boot: a pid alone may have been given to another process since. */
  started: string | null
  /** Tells two locks of one process apart. */
  id: string
}

const LOCK_NAME = 'run.lock'

export interface RunLock {
  release(): Promise<void>
}

/**
 * Takes the lock of a run directory. A lock whose process has ended is taken over; one of another machine cannot be judged and
 * stands until a person removes it.
 * @throws E_LOCKED, naming the owner
 */
export async function lockRun(folder: string): Promise<RunLock> {
  const path = join(folder, LOCK_NAME)
  const owner: Owner = { pid: process.pid, host: hostname(), started: startOf(process.pid), id: randomUUID() }
  const mine = join(folder, `.${LOCK_NAME}.${owner.pid}.${owner.id}`)
  try {
    await writeFile(mine, `${JSON.stringify(owner)}\n`)
    // A hard link appears whole and never replaces: whoever makes it holds the lock.
    for (let attempt = 0; attempt < 10; attempt++) {
      if (await tryLink(mine, path)) {
        await removeLeftOver(folder)
        return { release: () => releaseLock(path, owner) }
      }
      await removeStale(folder, path)
    }
  } catch (cause) {
    throw writeError(path, cause)
  } finally {
    await rm(mine, { force: true })
  }
  throw new PrudentError('E_LOCKED', `${folder}: other processes keep taking the lock; try again`, {
    argument: '--output',
  })
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' || isMissing(error)) return false
    throw error
  }
}

/** Files of processes that ended while they were taking the lock. */
async function removeLeftOver(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = new RegExp(`^\\.${LOCK_NAME}\\.(\\d+)\\.`).exec(name)?.[1]
    if (pid !== undefined && Number(pid) !== process.pid && !isRunning(Number(pid)))
      await rm(join(folder, name), { force: true })
  }
}

async function releaseLock(path: string, owner: Owner): Promise<void> {
  const present = await readOwner(path)
  if (present?.id === owner.id) await rm(path, { force: true })
}

/** Takes a lock away when its process has ended. The rename decides between two that find it stale at once. */
async function removeStale(folder: string, path: string): Promise<void> {
  const owner = await readOwner(path)
  if (owner === null) return
  if (isAlive(owner)) {
    const where = owner.host === hostname() ? '' : ` on ${owner.host}; if that has ended, remove ${path}`
    throw new PrudentError('E_LOCKED', `${folder}: process ${owner.pid} works in this run directory${where}`, {
      argument: '--output',
      received: String(owner.pid),
    })
  }
  const aside = join(folder, `.${LOCK_NAME}.${process.pid}.${randomUUID()}`)
  try {
    await rename(path, aside)
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  const moved = await readOwner(aside)
  // Somebody else was quicker and has locked the run meanwhile: give the fresh lock back.
  if (moved !== null && moved.id !== owner.id) await tryLink(aside, path)
  await rm(aside, { force: true })
}

async function readOwner(path: string): Promise<Owner | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    const { pid, host, started, id } = JSON.parse(text) as Owner
    if (Number.isSafeInteger(pid) && pid > 0) return { pid, host, started, id }
  } catch {
    // A lock that cannot be read is of a disk that failed half-way: nobody holds it.
  }
  return { pid: 0, host: hostname(), started: null, id: '' }
}

function isAlive(owner: Owner): boolean {
  if (owner.host !== hostname()) return true
  if (owner.pid === 0) return false
  if (!isRunning(owner.pid)) return false
  const started = startOf(owner.pid)
  return started === null || owner.started === null || started === owner.started
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Field 22 of /proc/<pid>/stat; null where there is no such file. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
