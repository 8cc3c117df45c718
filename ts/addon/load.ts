/**
 * The only place that loads the addon. libtorch is opened first, by absolute path through a small addon of its own, because
 * prudent.node carries no search path: one mechanism for the clone, a tarball and a platform package, worker threads included.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PrudentError } from '../errors.js'
import type { NativeAddon } from './native.js'

interface Loader {
  open(file: string): void
  abiVersion(file: string): string | undefined
}

/** What the build wrote down of the libtorch that it was made against. */
export interface LibtorchStamp {
  version: string
  folder: string
  cuda: boolean
}

const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const require = createRequire(import.meta.url)

/** Folder of the built addon. */
export function addonFolder(): string {
  return join(packageRoot, 'build', 'cmake', 'Release')
}

/** The cache that clones share; set-up (scripts/setup/folders.mjs) writes it. */
export function cacheFolder(): string {
  const { PRUDENT_CACHE, XDG_CACHE_HOME } = process.env
  return PRUDENT_CACHE ? resolve(PRUDENT_CACHE) : join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'prudent')
}

/** @throws E_NOT_BUILT when there is no build */
export function readLibtorchStamp(): LibtorchStamp {
  const file = join(addonFolder(), 'libtorch.json')
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LibtorchStamp
  } catch (cause) {
    throw new PrudentError(
      'E_NOT_BUILT',
      'the native addon is not built: run `npm start` (or `npm run build`) in the clone',
      { cause },
    )
  }
}

/** 2.13.0+cpu -> 2.13: a build runs on the libtorch of the same minor version. */
function minorVersion(version: string): string {
  return version.split('.').slice(0, 2).join('.')
}

/** The folder to load libtorch from: PRUDENT_LIBTORCH, else the one built against, else the same one in a cache. */
function libtorchFolder(stamp: LibtorchStamp): string {
  const given = process.env.PRUDENT_LIBTORCH
  const cached = stamp.folder.split('/').find((part) => part.startsWith('libtorch-'))
  const caches = [cacheFolder(), join(packageRoot, '.cache')]
  const candidates = given
    ? [given, join(given, 'torch')]
    : [stamp.folder, ...(cached ? caches.map((cache) => join(cache, cached, 'torch')) : [])]
  const found = candidates.find((folder) => existsSync(join(folder, 'lib', 'libtorch_cpu.so')))
  if (found) return found
  const where = given ? `PRUDENT_LIBTORCH=${given}` : stamp.folder
  throw new PrudentError(
    'E_LIBTORCH',
    `libtorch: expected lib/libtorch_cpu.so of ${stamp.version}, received nothing in ${where}; run \`npm run build\``,
    {
      argument: 'libtorch',
      expected: stamp.version,
      received: 'nothing',
    },
  )
}

function openLibtorch(loader: Loader, folder: string, cuda: boolean): void {
  // libc10 first: libtorch_cpu needs it and would look for it by its own search path. libgomp is opened as libtorch's own
  // dependency, so that the wheel's is the one OpenMP library of the process.
  const names = ['libc10.so', 'libtorch_cpu.so', ...(cuda ? ['libc10_cuda.so', 'libtorch_cuda.so'] : [])]
  for (const name of names) {
    try {
      loader.open(join(folder, 'lib', name))
    } catch (cause) {
      const reason = cause instanceof Object && 'message' in cause ? String(cause.message) : String(cause)
      throw new PrudentError('E_LIBTORCH', `libtorch: cannot open ${name} of ${folder}: ${reason}`, {
        argument: 'libtorch',
        cause,
      })
    }
  }
}

function checkVersion(loader: Loader, folder: string, stamp: LibtorchStamp): void {
  const loaded = loader.abiVersion(join(folder, 'lib', 'libtorch_cpu.so'))
  if (loaded === undefined || minorVersion(loaded) === minorVersion(stamp.version)) return
  const message = `libtorch: expected ${stamp.version}, which the addon was built against, received ${loaded} from ${folder}; run \`npm run build\``
  throw new PrudentError('E_LIBTORCH', message, { argument: 'libtorch', expected: stamp.version, received: loaded })
}

function requireAddon<T>(name: string): T {
  const file = join(addonFolder(), name)
  if (!existsSync(file)) {
    throw new PrudentError(
      'E_NOT_BUILT',
      `the native addon is not built (no ${name}): run \`npm start\` (or \`npm run build\`) in the clone`,
    )
  }
  try {
    return require(file) as T
  } catch (cause) {
    const reason = cause instanceof Object && 'message' in cause ? String(cause.message) : String(cause)
    throw new PrudentError(
      'E_LIBTORCH',
      `${name} does not fit this libtorch or system: ${reason}; run \`npm run build\``,
      { argument: 'libtorch', cause },
    )
  }
}

let loaded: { addon: NativeAddon; folder: string } | undefined

/**
 * Loads the addon, once per thread; nothing happens at import.
 * @throws E_NOT_BUILT when there is no build, E_LIBTORCH when libtorch is missing or is not the version that was built against
 */
export function loadAddon(): NativeAddon {
  loaded ??= load()
  return loaded.addon
}

/** Where the libtorch of this process came from. */
export function loadedLibtorchFolder(): string {
  loaded ??= load()
  return loaded.folder
}

function load(): { addon: NativeAddon; folder: string } {
  const stamp = readLibtorchStamp()
  const loader = requireAddon<Loader>('prudent_loader.node')
  const folder = libtorchFolder(stamp)
  openLibtorch(loader, folder, stamp.cuda)
  checkVersion(loader, folder, stamp)
  return { addon: requireAddon<NativeAddon>('prudent.node'), folder }
}
