/**
 * Where the addon and libtorch may lie; scripts/setup/folders.mjs writes to the same places. An installed package is never written
 * to: what set-up makes for it lies in the user's cache.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PrudentError } from '../errors.js'

/** What a build wrote down of the libtorch that it was made against. */
export interface LibtorchStamp {
  version: string
  /** Where it was; null in a platform package, which is built on another machine. */
  folder: string | null
  cuda: boolean
}

export const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const require = createRequire(import.meta.url)
const isClone = existsSync(join(packageRoot, 'ts'))
const PLATFORM = `${process.platform}-${process.arch}`

/** What the user runs to get the addon and libtorch. */
export const SET_UP = isClone ? '`npm start` (or `npm run build`) in the clone' : '`npx prudent setup`'

/** libtorch versions that platform packages are made for, newest first (scripts/setup/libtorch.mjs supports the same). */
const PLATFORM_MINORS = ['2.13', '2.12', '2.11']

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version
}

/** The cache that clones and projects share. */
export function cacheFolder(): string {
  const { PRUDENT_CACHE, XDG_CACHE_HOME } = process.env
  return PRUDENT_CACHE ? resolve(PRUDENT_CACHE) : join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'prudent')
}

/**
 * Where an addon may lie: beside the compiled TypeScript; for an installed package also where `npx prudent setup` puts it, and in a
 * platform package. A clone never takes an addon that was built from other sources than its own.
 */
function* addonPlaces(): Generator<string> {
  yield join(packageRoot, 'build', 'cmake', 'Release')
  if (isClone) return
  yield join(cacheFolder(), `addon-${packageVersion()}-${PLATFORM}`, 'cmake', 'Release')
  yield* platformPackages()
}

/** @throws E_NOT_BUILT naming every place that was looked at */
export function addonFolder(): string {
  const looked: string[] = []
  for (const folder of addonPlaces()) {
    if (existsSync(join(folder, 'libtorch.json'))) return folder
    looked.push(folder)
  }
  const where = looked.join(', ')
  throw new PrudentError('E_NOT_BUILT', `the native addon is missing (no libtorch.json in ${where}): run ${SET_UP}`, {
    argument: 'addon',
    received: 'nothing',
  })
}

/** Folders of the platform packages that are installed beside this one. */
function platformPackages(): string[] {
  return PLATFORM_MINORS.flatMap((minor) => ['cuda', 'cpu'].map((kind) => `prudent-${PLATFORM}-torch${minor}-${kind}`))
    .map(packageFolder)
    .filter((folder) => folder !== undefined)
}

/** @throws E_NOT_BUILT when it was made for another version of prudent */
function packageFolder(name: string): string | undefined {
  let file: string
  try {
    file = require.resolve(`${name}/package.json`)
  } catch {
    return undefined
  }
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  if (version === packageVersion()) return dirname(file)
  const message = `${name}: expected version ${packageVersion()}, that of prudent, received ${version}; install the same version of both`
  throw new PrudentError('E_NOT_BUILT', message, { argument: name, expected: packageVersion(), received: version })
}

/** The addon's stamp. @throws E_NOT_BUILT when there is no addon */
export function readLibtorchStamp(): LibtorchStamp {
  const file = join(addonFolder(), 'libtorch.json')
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LibtorchStamp
  } catch (cause) {
    throw new PrudentError('E_NOT_BUILT', `${file} cannot be read: run ${SET_UP}`, { cause })
  }
}

/** 2.13.0+cpu -> 2.13: a build runs on the libtorch of the same minor version. */
export function minorVersion(version: string): string {
  return version.split('.').slice(0, 2).join('.')
}

/**
 * The folder to load libtorch from: PRUDENT_LIBTORCH, else the one built against, else one like it in a cache.
 * @throws E_LIBTORCH when there is none
 */
export function libtorchFolder(stamp: LibtorchStamp): string {
  const given = process.env.PRUDENT_LIBTORCH
  const candidates = given ? [given, join(given, 'torch'), join(given, 'libtorch')] : knownLibtorchs(stamp)
  const found = candidates.find((folder) => existsSync(join(folder, 'lib', 'libtorch_cpu.so')))
  if (found) return found
  const where = given ? `PRUDENT_LIBTORCH=${given}` : (stamp.folder ?? cacheFolder())
  throw new PrudentError(
    'E_LIBTORCH',
    `libtorch: expected lib/libtorch_cpu.so of ${stamp.version}, received nothing in ${where}; run ${SET_UP}`,
    { argument: 'libtorch', expected: stamp.version, received: 'nothing' },
  )
}

function knownLibtorchs({ folder, version, cuda }: LibtorchStamp): string[] {
  const caches = isClone ? [cacheFolder(), join(packageRoot, '.cache')] : [cacheFolder()]
  const beginning = `libtorch-${minorVersion(version)}.`
  const cached = caches.flatMap((cache) =>
    namesIn(cache)
      .filter((name) => name.startsWith(beginning))
      .map((name) => join(cache, name, 'torch')),
  )
  // An addon without CUDA runs on either kind of libtorch, one with CUDA on its own kind alone.
  const fitting = cached.filter((each) => !cuda || existsSync(join(each, 'lib', 'libtorch_cuda.so')))
  return folder === null ? fitting : [folder, ...fitting]
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}
