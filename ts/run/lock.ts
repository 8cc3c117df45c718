import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { appendFile, link, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { PrudentError } from '../errors.js'
import { isMissing, writeError } from './atomic-files.js'

interface Owner {
  pid: number
  host: string
  /** PID namespace: containers of one host name count their processes apart. Locks of before there was this field have none. */
  space?: string | null
  /** Start of the process in clock ticks since boot: a pid alone may have been given to another process since. */
  started: string | null
  /** Tells two locks of one process apart. */
  id: string
  /** Milliseconds between two signs of life, which are new modification times of the file. */
  heartbeat?: number
}

const LOCK_NAME = 'run.lock'
const HEARTBEAT_MS = 15_000
/** This many heartbeats without a sign of life: the owner has ended, wherever it was. */
const MISSED_HEARTBEATS = 6

export interface RunLock {
  release(): Promise<void>
}

export interface LockOptions {
  /** What the lock guards, for messages; default: its file. */
  what?: string
  heartbeatMs?: number
}

/** Takes the lock of a run directory; see lockFile. */
export async function lockRun(folder: string): Promise<RunLock> {
  return lockFile(join(folder, LOCK_NAME), { what: folder })
}

/**
 * Takes a lock. One whose process has ended is taken over: on this machine at once, of another machine once it has given no sign of life
 * for a while. A lock of another machine that never gave signs cannot be judged and stands until a person removes it.
 * @throws E_LOCKED, naming the owner
 */
export async function lockFile(path: string, options: LockOptions = {}): Promise<RunLock> {
  const heartbeat = options.heartbeatMs ?? HEARTBEAT_MS
  const owner: Owner = { ...here(), started: startOf(process.pid), id: randomUUID(), heartbeat }
  const mine = join(dirname(path), `.${basename(path)}.${owner.pid}.${owner.id}`)
  const what = options.what ?? path
  try {
    await writeFile(mine, `${JSON.stringify(owner)}\n`)
    // A hard link appears whole and never replaces: whoever makes it holds the lock.
    for (let attempt = 0; attempt < 10; attempt++) {
      if (await tryLink(mine, path)) {
        await removeLeftOver(path)
        return await holdLock(path, owner, heartbeat)
      }
      await removeStale(path, mine, what)
    }
  } catch (cause) {
    throw writeError(path, cause)
  } finally {
    await rm(mine, { force: true })
  }
  throw new PrudentError('E_LOCKED', `${what}: other processes keep taking the lock; try again`, {
    argument: '--output',
  })
}

/** Signs of life are spaces after the owner's JSON: the file server's clock dates them, so clocks of machines need not agree. */
async function holdLock(path: string, owner: Owner, heartbeat: number): Promise<RunLock> {
  const file = await open(path, 'a').catch(async (cause) => {
    await releaseLock(path, owner).catch(() => {})
    throw cause
  })
  // A sign that cannot be written is a full disk or a file server that is away; the next one may get through.
  const sign = () => void file.write(' ').catch(() => {})
  const timer = setInterval(sign, heartbeat).unref()
  return {
    async release() {
      clearInterval(timer)
      await file.close().catch(() => {})
      await releaseLock(path, owner)
    },
  }
}

const here = () => ({ pid: process.pid, host: hostname(), space: processSpace() })

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
async function removeLeftOver(path: string): Promise<void> {
  const prefix = `.${basename(path)}.`
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue
    const leftOver = join(dirname(path), name)
    const owner = await readOwner(leftOver)
    // One that holds nothing yet may be being written at this moment.
    if (owner !== null && owner.pid > 0 && isHere(owner) && !isAlive(owner)) await rm(leftOver, { force: true })
  }
}

async function releaseLock(path: string, owner: Owner): Promise<void> {
  const present = await readOwner(path)
  if (present?.id === owner.id) await rm(path, { force: true })
}

/**
 * Takes a lock away when its process has ended. Only whoever holds the removal's own lock does so, and looks again when it does: without
 * that, one that found the lock stale could take away the fresh lock of one that was quicker.
 */
async function removeStale(path: string, mine: string, what: string): Promise<void> {
  if (!(await isStale(path, mine, what))) return
  const removal = join(dirname(path), `.${basename(path)}.removal`)
  if (!(await tryLink(mine, removal))) return await awaitRemoval(removal)
  try {
    if (await isStale(path, mine, what)) await rm(path, { force: true })
  } finally {
    await rm(removal, { force: true })
  }
}

/** @throws E_LOCKED where the owner works */
async function isStale(path: string, mine: string, what: string): Promise<boolean> {
  const owner = await readOwner(path)
  if (owner === null) return false
  if (isHere(owner) ? !isAlive(owner) : !(await givesSigns(owner, path, mine))) return true
  const where = isHere(owner) ? '' : ` on ${owner.host}; if that has ended, remove ${path}`
  throw new PrudentError('E_LOCKED', `${what}: process ${owner.pid} works here${where}`, {
    argument: '--output',
    received: String(owner.pid),
  })
}

const REMOVAL_WAIT_MS = 20

/** A removal takes a millisecond; one whose process died within it is taken away. */
async function awaitRemoval(removal: string): Promise<void> {
  const owner = await readOwner(removal)
  if (owner !== null && isHere(owner) && !isAlive(owner)) await rm(removal, { force: true })
  else await setTimeout(REMOVAL_WAIT_MS)
}

/** @param mine a file that this process has just written again: what the file server's clock says now */
async function givesSigns(owner: Owner, path: string, mine: string): Promise<boolean> {
  if (owner.heartbeat === undefined) return true
  await appendFile(mine, ' ')
  const [lock, now] = await Promise.all([stat(path).catch(() => null), stat(mine)])
  return lock === null || now.mtimeMs - lock.mtimeMs < MISSED_HEARTBEATS * owner.heartbeat
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
    const owner = JSON.parse(text) as Owner
    if (Number.isSafeInteger(owner.pid) && owner.pid > 0) return owner
  } catch {
    // A lock that cannot be read is of a disk that failed half-way: nobody holds it.
  }
  return { pid: 0, host: hostname(), started: null, id: '' }
}

/** Whether the owner's pid can be looked up from here. */
function isHere(owner: Owner): boolean {
  return owner.host === hostname() && (owner.space === undefined || owner.space === processSpace())
}

function isAlive(owner: Owner): boolean {
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

function processSpace(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
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
