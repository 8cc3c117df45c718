/**
 * The only place that loads the addon. libtorch is opened first, by absolute path through a small addon of its own, because
 * prudent.node carries no search path: one mechanism for the clone, a tarball and a platform package, worker threads included.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { PrudentError } from '../errors.js'
import type { NativeAddon } from './native.js'
import { addonFolder, type LibtorchStamp, libtorchFolder, minorVersion, readLibtorchStamp, SET_UP } from './places.js'

interface Loader {
  open(file: string): void
  abiVersion(file: string): string | undefined
}

const require = createRequire(import.meta.url)

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
  const message = `libtorch: expected ${stamp.version}, which the addon was built against, received ${loaded} from ${folder}; run ${SET_UP}`
  throw new PrudentError('E_LIBTORCH', message, { argument: 'libtorch', expected: stamp.version, received: loaded })
}

function requireAddon<T>(folder: string, name: string): T {
  const file = join(folder, name)
  if (!existsSync(file))
    throw new PrudentError('E_NOT_BUILT', `the native addon is not whole (no ${name} in ${folder}): run ${SET_UP}`)
  try {
    return require(file) as T
  } catch (cause) {
    const reason = cause instanceof Object && 'message' in cause ? String(cause.message) : String(cause)
    throw new PrudentError('E_LIBTORCH', `${name} does not fit this libtorch or system: ${reason}; run ${SET_UP}`, {
      argument: 'libtorch',
      cause,
    })
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
  const addon = addonFolder()
  const loader = requireAddon<Loader>(addon, 'prudent_loader.node')
  const folder = libtorchFolder(stamp)
  openLibtorch(loader, folder, stamp.cuda)
  checkVersion(loader, folder, stamp)
  const native = requireAddon<NativeAddon>(addon, 'prudent.node')
  // What is at work must have ended before exit() destroys libtorch's globals. A worker thread's 'exit' is not the process's.
  if (isMainThread) process.once('exit', () => native.prepareExit())
  return { addon: native, folder }
}
