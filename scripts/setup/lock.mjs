// One lock file serialises two set-ups. It names its owner by pid and start time (a pid alone may have been given to another
// process since) and the child that is at work, so that a set-up that was killed leaves nothing running behind the next one.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { observeChildren } from './command.mjs'
import { SetupError, say } from './report.mjs'

const POLL_MS = 200
const GIVE_UP_MS = 60 * 60 * 1000

/** Start time of a process, in clock ticks since boot together with the boot's id; undefined when it does not run. */
function processStart(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z') return undefined
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${fields[19]}`
  } catch {
    return undefined
  }
}

function isAlive(who) {
  return who !== undefined && processStart(who.pid) === who.start
}

function describe(pid) {
  return { pid, start: processStart(pid) }
}

function readLock(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    // A file that is there but cannot be parsed was cut short by a crash of the whole machine: stale.
    return error.code === 'ENOENT' ? undefined : { host: hostname(), broken: true }
  }
}

/** Takes the lock whole or not at all: the content is complete before the name exists. */
function tryTake(file, content) {
  const own = `${file}.${process.pid}`
  writeFileSync(own, content)
  try {
    linkSync(own, file)
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    return false
  } finally {
    rmSync(own, { force: true })
  }
}

/** Moves a stale lock away; if another process has replaced it meanwhile, puts that one's lock back. */
function removeStale(file, stale) {
  const aside = `${file}.stale.${process.pid}`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  const moved = readLock(aside)
  if (JSON.stringify(moved?.owner) !== JSON.stringify(stale.owner)) {
    try {
      linkSync(aside, file)
    } catch {
      // Somebody holds a new lock already.
    }
  }
  rmSync(aside, { force: true })
}

async function stopOrphan(child) {
  if (!isAlive(child)) return
  say(`stopping what a killed set-up left running (process ${child.pid})`)
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    try {
      process.kill(-child.pid, signal)
    } catch {
      return
    }
    for (let waited = 0; waited < 5000 && isAlive(child); waited += 100) await sleep(100)
    if (!isAlive(child)) return
  }
}

async function acquire(file, what) {
  const lock = { owner: describe(process.pid), host: hostname() }
  const begun = Date.now()
  let told = false
  while (!tryTake(file, JSON.stringify(lock))) {
    const held = readLock(file)
    if (held === undefined) continue
    if (held.host === hostname() && !isAlive(held.owner)) {
      say(`removing the stale lock of a set-up that did not finish${held.owner ? ` (process ${held.owner.pid})` : ''}`)
      await stopOrphan(held.child)
      removeStale(file, held)
      continue
    }
    if (!told) {
      told = true
      say(`${what} is running already (process ${held.owner?.pid} on ${held.host}); waiting for it to finish`)
    }
    if (Date.now() - begun > GIVE_UP_MS) {
      throw new SetupError('E_LOCKED', `${what} has held ${file} for an hour; remove that file if no such process runs`)
    }
    await sleep(POLL_MS)
  }
  return lock
}

/** Runs `body` while holding `file`; waits, saying so, while another process holds it. */
export async function withLock(file, what, body) {
  mkdirSync(dirname(file), { recursive: true })
  const lock = await acquire(file, what)
  const recordChild = (pid) => {
    const next = `${file}.next.${process.pid}`
    writeFileSync(next, JSON.stringify(pid === undefined ? lock : { ...lock, child: describe(pid) }))
    renameSync(next, file)
  }
  const stopObserving = observeChildren(recordChild)
  const release = () => rmSync(file, { force: true })
  process.once('exit', release)
  try {
    return await body()
  } finally {
    stopObserving()
    process.off('exit', release)
    release()
  }
}
