// Where things live: the clone or installed package, and the cache that all of them share.
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError } from './report.mjs'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** An installed package holds no sources of TypeScript; it belongs to npm and is never written to. */
export const isClone = existsSync(join(root, 'ts'))

export function canWrite(folder) {
  let nearest = resolve(folder)
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest)
  try {
    accessSync(nearest, constants.W_OK)
    mkdirSync(folder, { recursive: true })
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function home() {
  try {
    return process.env.HOME || homedir()
  } catch {
    return ''
  }
}

/** $PRUDENT_CACHE, else $XDG_CACHE_HOME/prudent, else ~/.cache/prudent; the clone's .cache where that cannot be written. */
export function cacheFolder() {
  if (process.env.PRUDENT_CACHE) return resolve(process.env.PRUDENT_CACHE)
  const base = process.env.XDG_CACHE_HOME || (home() ? join(home(), '.cache') : '')
  const shared = base ? join(base, 'prudent') : ''
  if (shared && canWrite(shared)) return shared
  if (isClone) return join(root, '.cache')
  throw new SetupError('E_IO', `the cache ${shared} cannot be written: set PRUDENT_CACHE to a folder that can`)
}

/** Stamps, logs and the native build: the clone's build/, for an installed package a folder of the cache (ts/addon/places.ts). */
export function workFolder() {
  if (isClone) return join(root, 'build')
  return join(cacheFolder(), `addon-${packageVersion()}-${process.platform}-${process.arch}`)
}

export function packageVersion() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
}

/** Folder of an npm package as Node finds it from here: a clone's own, or beside an installed package. */
export function packageFolder(name) {
  for (let at = root; ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name)
    if (existsSync(join(folder, 'package.json'))) return folder
    if (dirname(at) === at) return undefined
  }
}

/** Environment for npm, pip and ccache when the home folder cannot be written: their caches move into the clone or prudent's cache. */
export function toolEnvironment() {
  if (home() && canWrite(home())) return {}
  const own = isClone ? join(root, '.cache') : cacheFolder()
  const moved = { npm_config_cache: join(own, 'npm'), PIP_CACHE_DIR: join(own, 'pip'), CCACHE_DIR: join(own, 'ccache') }
  return Object.fromEntries(Object.entries(moved).filter(([name]) => !process.env[name]))
}
