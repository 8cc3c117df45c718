import { accessSync, constants, existsSync } from 'node:fs'
import { availableParallelism, freemem, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { loadAddon, loadedLibtorchFolder } from '../../addon/load.js'
import type { SystemInfo } from '../../addon/native.js'
import {
  addonFolder,
  cacheFolder,
  type LibtorchStamp,
  packageVersion,
  readLibtorchStamp,
  SET_UP,
} from '../../addon/places.js'
import { hubCacheFolder } from '../../data/hub.js'

export interface Diagnosis {
  prudent: string
  node: string
  platform: string
  memory: { totalBytes: number; freeBytes: number }
  cores: number
  /** Folder of the native addon. */
  addon: string | null
  /** What the build was made against, and where this process found it. */
  libtorch: { built: string | null; loaded: string | null; folder: string | null; hasCuda: boolean | null }
  cpu: SystemInfo['cpu'] | null
  threads: SystemInfo['threads'] | null
  cuda: SystemInfo['cuda'] | null
  distributed: SystemInfo['distributed'] | null
  caches: { name: string; folder: string; exists: boolean; writable: boolean }[]
  environment: Record<string, string>
  /** What keeps prudent from working; empty when all is well. */
  problems: string[]
  /** What works, but differently from what one might expect. */
  notes: string[]
}

/** Variables that change what prudent or libtorch does. Tokens are never among them. */
const VARIABLES =
  /^(PRUDENT_|OMP_|MKL_|HF_(HOME|HUB_|ENDPOINT)|XDG_CACHE_HOME$|CUDA_VISIBLE_DEVICES$|TOKENIZERS_|NO_COLOR$|NODE_OPTIONS$)/

export async function diagnose(): Promise<Diagnosis> {
  const problems: string[] = []
  const stamp = attempt(readLibtorchStamp, problems)
  const info = stamp && attempt(() => loadAddon().systemInfo(), problems)
  const folder = info ? loadedLibtorchFolder() : (stamp?.folder ?? null)
  const hasCuda = folder === null ? null : existsSync(join(folder, 'lib', 'libtorch_cuda.so'))
  return {
    prudent: packageVersion(),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch} ${release()}`,
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    cores: availableParallelism(),
    addon: stamp && addonFolder(),
    libtorch: { built: stamp?.version ?? null, loaded: info?.libtorch ?? null, folder, hasCuda },
    cpu: info?.cpu ?? null,
    threads: info?.threads ?? null,
    cuda: info?.cuda ?? null,
    distributed: info?.distributed ?? null,
    caches: [describeCache('prudent', cacheFolder()), describeCache('hub', hubCacheFolder())],
    environment: Object.fromEntries(
      Object.entries(process.env).flatMap(([name, value]) =>
        VARIABLES.test(name) && !name.endsWith('TOKEN') && value ? [[name, value]] : [],
      ),
    ),
    problems,
    notes: notesOn(stamp, info, hasCuda),
  }
}

function attempt<T>(action: () => T, problems: string[]): T | null {
  try {
    return action()
  } catch (error) {
    const code = error instanceof Object && 'code' in error ? `${error.code}: ` : ''
    problems.push(`${code}${error instanceof Object && 'message' in error ? error.message : error}`)
    return null
  }
}

function notesOn(stamp: LibtorchStamp | null, info: SystemInfo | null, hasCuda: boolean | null): string[] {
  const notes: string[] = []
  if (stamp && hasCuda && !stamp.cuda) {
    notes.push(
      `libtorch has CUDA but the addon was built without: no nvcc was found; install the CUDA toolkit and run ${SET_UP}`,
    )
  }
  if (info && !info.cpu.bf16) notes.push('this CPU does not multiply bfloat16 natively: `--dtype auto` takes float32')
  return notes
}

function describeCache(name: string, folder: string): Diagnosis['caches'][number] {
  let nearest = folder
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest)
  try {
    accessSync(nearest, constants.W_OK)
    return { name, folder, exists: existsSync(folder), writable: true }
  } catch {
    return { name, folder, exists: existsSync(folder), writable: false }
  }
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
const yesNo = (value: boolean): string => (value ? 'yes' : 'no')

export function describeDiagnosis(found: Diagnosis): string {
  const { libtorch, cpu, threads, cuda, distributed } = found
  const rows: [string, string][] = [
    ['prudent', found.prudent],
    ['node', `${found.node}, ${found.platform}`],
    ['memory', `${gigabytes(found.memory.totalBytes)}, ${gigabytes(found.memory.freeBytes)} free`],
    ['addon', found.addon ?? '-'],
    ['libtorch', `built against ${libtorch.built ?? '-'}, loaded ${libtorch.loaded ?? '-'}`],
    ['', libtorch.folder ?? 'no folder'],
  ]
  if (cpu) rows.push(['cpu', `${cpu.model}, ${cpu.cores} cores, kernels ${cpu.capability}, bf16 ${yesNo(cpu.bf16)}`])
  if (threads) rows.push(['threads', `${threads.lanes} x ${threads.threadsPerLane} (jobs at once x threads each)`])
  if (cuda) {
    rows.push(['cuda', cuda.built ? `built, ${cuda.devices.length} devices` : 'not built'])
    for (const device of cuda.devices) {
      rows.push(['', `cuda:${device.index} ${device.name}, ${gigabytes(device.memoryBytes)}, sm_${device.capability}`])
    }
  }
  if (distributed) rows.push(['distributed', `Gloo ${yesNo(distributed.gloo)}, NCCL ${yesNo(distributed.nccl)}`])
  for (const cache of found.caches) {
    rows.push([
      `${cache.name} cache`,
      `${cache.folder}${cache.exists ? '' : ' (not there yet)'}${cache.writable ? '' : ' (cannot be written)'}`,
    ])
  }
  for (const [name, value] of Object.entries(found.environment)) rows.push(['environment', `${name}=${value}`])
  for (const note of found.notes) rows.push(['note', note])
  for (const problem of found.problems) rows.push(['problem', problem])
  return `${rows.map(([name, value]) => `${name.padEnd(14)}${value}`).join('\n')}\n`
}
