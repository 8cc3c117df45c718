// The tools that a build needs, found on PATH. Each missing one is named together with the Debian package that has it.
import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { run } from './command.mjs'
import { SetupError, say } from './report.mjs'

const MINIMUM_NODE = [20, 19]
const MINIMUM_CMAKE = [3, 22]
const MINIMUM_GCC = [11, 0]
const MINIMUM_CLANG = [14, 0]

export function findOnPath(name) {
  const candidates = isAbsolute(name)
    ? [name]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder || '.', name))
  for (const file of candidates) {
    try {
      accessSync(file, constants.X_OK)
      if (statSync(file).isFile()) return file
    } catch {
      // Not here.
    }
  }
  return undefined
}

const findFirst = (names) => names.map(findOnPath).find((file) => file !== undefined)

/** Changes when the file behind a command is replaced, so that an upgraded compiler leads to a rebuild. */
export function toolIdentity(file) {
  const { size, mtimeMs } = statSync(file)
  return `${realpathSync(file)}:${size}:${Math.round(mtimeMs)}`
}

function atLeast(version, minimum) {
  const [major = 0, minor = 0] = version
  return major > minimum[0] || (major === minimum[0] && minor >= minimum[1])
}

const numbers = (text) => text.split('.').map(Number)

export function checkPlatform() {
  if (process.platform !== 'linux')
    throw new SetupError('E_UNSUPPORTED', `prudent builds on Linux; this is ${process.platform}`)
  if (!atLeast(numbers(process.versions.node), MINIMUM_NODE)) {
    throw new SetupError(
      'E_TOOL',
      `Node ${MINIMUM_NODE.join('.')} or newer is needed, this is ${process.versions.node} (Debian package: nodejs; or nodejs.org)`,
    )
  }
}

/** npm as the caller runs it, else the one beside or on PATH. */
export function findNpm() {
  const caller = process.env.npm_execpath
  if (caller && /npm-cli\.c?js$/.test(caller)) return [process.execPath, caller]
  const npm = findOnPath('npm')
  return npm ? [npm] : undefined
}

/**
 * Paths of what the native build uses.
 * @returns {{ compiler: string, cmake: string, ninja: string | undefined, make: string | undefined, ccache: string | undefined,
 *   python: string | undefined, identity: string }}
 */
export function findBuildTools() {
  const chosen = process.env.CXX
  const compiler = findFirst(chosen ? [chosen, chosen.split(' ')[0]] : ['c++', 'g++', 'clang++'])
  const cmake = findOnPath('cmake')
  const ninja = findOnPath('ninja')
  const make = findFirst(['make', 'gmake'])
  const missing = []
  if (!compiler) missing.push(`C++ compiler${chosen ? ` (CXX=${chosen})` : ''} (Debian package: g++)`)
  if (!cmake) missing.push('CMake (Debian package: cmake)')
  if (!ninja && !make) missing.push('make or ninja (Debian package: make, or ninja-build)')
  if (!findNpm()) missing.push('npm (Debian package: npm)')
  if (missing.length > 0) throw new SetupError('E_TOOL', `missing: ${missing.join('; ')}`)
  const identity = [compiler, cmake].map(toolIdentity).join(' ')
  return { compiler, cmake, ninja, make, ccache: findOnPath('ccache'), python: findPython(), identity }
}

export function findPython() {
  return findFirst(['python3', 'python'])
}

/** Asks the tools for their versions; only done when something will be built. */
export async function checkVersions({ compiler, cmake }) {
  const cmakeVersion = /version (\d+(?:\.\d+)+)/.exec((await run(cmake, ['--version'])).output)?.[1]
  if (!cmakeVersion || !atLeast(numbers(cmakeVersion), MINIMUM_CMAKE)) {
    throw new SetupError(
      'E_TOOL',
      `CMake ${MINIMUM_CMAKE.join('.')} or newer is needed, ${cmake} is ${cmakeVersion ?? 'of unknown version'} (Debian package: cmake)`,
    )
  }
  const banner = (await run(compiler, ['--version'])).output
  const clang = /clang version (\d+(?:\.\d+)+)/.exec(banner)?.[1]
  const version = clang ?? (await run(compiler, ['-dumpfullversion', '-dumpversion'])).output.trim()
  if (!atLeast(numbers(version), clang ? MINIMUM_CLANG : MINIMUM_GCC)) {
    throw new SetupError(
      'E_TOOL',
      `a C++20 compiler is needed (g++ 11 or clang++ 14), ${compiler} is ${version} (Debian package: g++)`,
    )
  }
  say(`CMake ${cmakeVersion}, ${clang ? 'clang++' : 'g++'} ${version}`)
}

/** Python with pip, which only the download of libtorch needs. */
export async function requirePip() {
  const python = findPython()
  if (!python) throw new SetupError('E_TOOL', 'missing: Python 3, to install libtorch with (Debian package: python3)')
  const answer = await run(python, ['-m', 'pip', '--version'])
  if (answer.status !== 0) {
    throw new SetupError('E_TOOL', `missing: pip for ${python}, to install libtorch with (Debian package: python3-pip)`)
  }
  return python
}
