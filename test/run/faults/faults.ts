import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { type Dirent, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fingerprint, steadyMetrics } from '../../support/train-runs.js'
import { ppoRun } from './ppo-run.js'

/** `node PROGRAM.js FOLDER` */
export type Program = 'ppo-run' | 'saves'
const fileOf = (program: Program) => join(dirname(fileURLToPath(import.meta.url)), `${program}.js`)

/** Compiles the shim into a folder. */
export function buildShim(folder: string): string {
  const library = join(folder, 'shim.so')
  const source = join('test', 'run', 'faults', 'shim.cpp')
  execFileSync(process.env.CXX ?? 'c++', ['-std=c++17', '-O1', '-shared', '-fPIC', '-o', library, source, '-ldl'])
  return library
}

export interface Fault {
  kind: 'record' | 'kill' | 'ENOSPC' | 'EIO' | 'EROFS' | 'none'
  /** Number of the call, from 1. */
  at?: number
}
export interface Ending {
  code: number | null
  signal: NodeJS.Signals | null
  stderr: string
  /** Calls that changed files below the folder. */
  calls: number
  /** Files and folders that were synced, in order, relative to the folder. */
  syncs: string[]
}

/** Runs a program in a process under the shim; `record` leaves copies of the folder in `<folder>.copies`. */
export async function runWithFault(
  shim: string,
  folder: string,
  fault: Fault,
  program: Program = 'ppo-run',
): Promise<Ending> {
  const counter = `${folder}.calls`
  writeFileSync(counter, Buffer.alloc(8))
  // There before the first call, so that there is something to copy.
  for (const made of [folder, `${folder}.copies`]) mkdirSync(made, { recursive: true })
  const list = `${folder}.syncs`
  writeFileSync(list, '')
  const variables = { FAULT_ROOT: folder, FAULT_COUNTER: counter, FAULT_COPIES: `${folder}.copies`, FAULT_SYNCS: list }
  const environment = {
    ...process.env,
    ...variables,
    LD_PRELOAD: shim,
    FAULT_KIND: fault.kind,
    FAULT_AT: `${fault.at ?? 0}`,
  }
  const running = spawn(process.execPath, [fileOf(program), folder], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  running.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return new Promise((resolve) => {
    running.on('close', (code, signal) => {
      const calls = Number(readFileSync(counter).readBigInt64LE())
      const lines = readFileSync(list, 'utf8').split('\n').slice(0, -1)
      resolve({ code, signal, stderr, calls, syncs: lines.map((path) => relative(folder, path)) })
    })
  })
}

/** Runs and keeps a copy of the folder as each call found it; copies that are the same (a sync changes nothing) count once. */
export async function recordStates(shim: string, folder: string): Promise<Ending & { copies: string[] }> {
  const ending = await runWithFault(shim, folder, { kind: 'record' })
  const numbers = readdirSync(`${folder}.copies`).sort((a, b) => Number(a) - Number(b))
  if (numbers.length !== ending.calls) throw new Error(`${numbers.length} copies of ${ending.calls} calls`)
  const states = new Map(
    numbers.map((number) => join(`${folder}.copies`, number)).map((copy) => [digestOf(copy), copy]),
  )
  return { ...ending, copies: [...states.values()] }
}

/** Goes on from each of the folders; what does not end as an undisturbed run is named. */
export async function broken(folders: readonly string[], whole: string): Promise<string[]> {
  const failures: string[] = []
  for (const folder of folders) {
    const result = await ppoRun(folder).then(() => outcome(folder), String)
    if (result !== whole) failures.push(`${folder}: ${result}`)
  }
  return failures
}

/** Names and contents of everything below a folder: a sync changes neither. */
function digestOf(folder: string): string {
  const hash = createHash('sha256')
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }).sort(byPath)) {
    const path = join(entry.parentPath, entry.name)
    hash.update(`${path.slice(folder.length)}\0`)
    if (entry.isFile()) hash.update(readFileSync(path))
  }
  return hash.digest('hex')
}

function byPath(a: Dirent, b: Dirent): number {
  return join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1
}

/** Everything that a run leaves and that must not depend on what befell it. */
export function outcome(folder: string): string {
  return JSON.stringify([fingerprint(folder), steadyMetrics(folder)])
}
