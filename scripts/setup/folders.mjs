// Where things live: the clone and the cache that clones share.
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

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
  return shared && canWrite(shared) ? shared : join(root, '.cache')
}

/** Environment for npm, pip and ccache when the home folder cannot be written: their caches move into the clone. */
export function toolEnvironment() {
  if (home() && canWrite(home())) return {}
  const own = join(root, '.cache')
  const moved = { npm_config_cache: join(own, 'npm'), PIP_CACHE_DIR: join(own, 'pip'), CCACHE_DIR: join(own, 'ccache') }
  return Object.fromEntries(Object.entries(moved).filter(([name]) => !process.env[name]))
}
