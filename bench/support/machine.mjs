// What the numbers were taken on: hardware, versions, commit, and how busy other processes kept the machine meanwhile.
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { createInterface } from 'node:readline'
import { root } from '../../scripts/setup/folders.mjs'

function git(...args) {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

function cacheSizes() {
  const size = (index) => {
    try {
      return readFileSync(`/sys/devices/system/cpu/cpu0/cache/index${index}/size`, 'utf8').trim()
    } catch {
      return undefined
    }
  }
  return { l2: size(2), l3: size(3) }
}

/** Instruction sets that decide how fast a matrix product can be. */
function matrixFeatures() {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' ') ?? []
  return ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_int8'].filter((flag) => flags.includes(flag))
}

export function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    features: matrixFeatures(),
    caches: cacheSizes(),
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
  }
}

export function describeCommit() {
  return {
    commit: git('rev-parse', 'HEAD') || 'unknown',
    changed: git('status', '--porcelain', '--', 'native', 'ts') !== '',
  }
}

/** CPU ticks that all processes have used since boot. */
export function busyTicks() {
  const [user, nice, system, , , irq, softirq] = /^cpu +(.*)$/m
    .exec(readFileSync('/proc/stat', 'utf8'))[1]
    .split(' ')
    .map(Number)
  return user + nice + system + irq + softirq
}

export const TICKS_PER_SECOND = 100

export function loadAverage() {
  return loadavg()[0]
}

/** After this long a shared machine is given up, so that others get their turn. */
const LONGEST_HOLD_MS = 60_000
let held

/**
 * Machines that several people share: `PRUDENT_BENCH_LOCK` names a file on which flock holds an exclusive lock during loads and timed
 * runs. It is kept from one run to the next, so that contestants follow each other closely, until it has been held for a minute.
 */
export async function withMachine(body) {
  const file = process.env.PRUDENT_BENCH_LOCK
  if (!file) return body()
  held ??= await takeLock(file)
  try {
    return await body()
  } finally {
    if (performance.now() - held.since > LONGEST_HOLD_MS) await releaseMachine()
  }
}

/** Gives the machine up, if it is held. */
export async function releaseMachine() {
  const lock = held
  held = undefined
  if (!lock) return
  lock.holder.stdin.end()
  await lock.closed
}

async function takeLock(file) {
  const holder = spawn('flock', [file, 'sh', '-c', 'echo held; cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const closed = new Promise((resolve) => holder.once('close', resolve))
  await new Promise((resolve, reject) => {
    createInterface({ input: holder.stdout }).once('line', resolve)
    holder.once('error', reject)
    closed.then(() => reject(new Error(`cannot lock ${file}`)))
  })
  return { holder, closed, since: performance.now() }
}
