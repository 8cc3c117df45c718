// Builds the addon through cmake-js, incrementally, and the C++ tests when asked for.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { run, runOrFail } from './command.mjs'
import { findNvcc } from './cuda.mjs'
import { isClone, packageFolder, toolEnvironment, workFolder } from './folders.mjs'
import { progressLine, SetupError, say } from './report.mjs'
import { filesBelow, fingerprint, readJson, writeJson } from './stamps.mjs'
import { checkVersions, findBuildTools } from './tools.mjs'

const MEMORY_PER_JOB = 1.5 * 2 ** 30
export const OUTPUTS = ['prudent.node', 'prudent_loader.node', 'libtorch.json']

/** Where the addon lies; ts/addon/places.ts looks there. */
export function releaseFolder() {
  return join(workFolder(), 'cmake', 'Release')
}

function readNumber(file) {
  try {
    const value = Number(readFileSync(file, 'utf8').trim())
    return Number.isFinite(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Free memory in bytes, within the limit of a container where there is one. */
function freeMemory() {
  const available = /MemAvailable:\s+(\d+) kB/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
  const free = available ? Number(available) * 1024 : Number.POSITIVE_INFINITY
  const limit = readNumber('/sys/fs/cgroup/memory.max')
  const used = readNumber('/sys/fs/cgroup/memory.current')
  return limit !== undefined && used !== undefined ? Math.min(free, limit - used) : free
}

export function buildJobs() {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freeMemory() / MEMORY_PER_JOB)))
}

/** Folder that holds doctest/doctest.h. */
export function findDoctest() {
  const listed = (process.env.CPATH ?? '').split(':').filter(Boolean)
  return [...listed, '/usr/include', '/usr/local/include'].find((folder) =>
    existsSync(join(folder, 'doctest', 'doctest.h')),
  )
}

/** Two fingerprints: what the addon is made from, and what the C++ tests are made from as well. */
function fingerprints(root, libtorch, tools) {
  const isTest = (file) => file.startsWith(join(root, 'native', 'tests'))
  const native = filesBelow(join(root, 'native'))
  const shared = [...filesBelow(join(root, 'cmake')), join(root, 'CMakeLists.txt')]
  const versions = ['cmake-js', 'node-addon-api', 'node-api-headers'].map(
    (name) => readJson(join(packageFolder(name) ?? '', 'package.json'))?.version,
  )
  // CMake's files name the clone's own place; what an installed package makes is shared by every project that has installed it.
  const extra = { libtorch, tools: tools.identity, versions, root: isClone ? root : undefined }
  const addon = fingerprint([...native.filter((file) => !isTest(file)), ...shared], extra, root)
  return { addon, tests: fingerprint(native.filter(isTest), { addon }, root) }
}

class CmakeJs {
  constructor(root, tools) {
    this.root = root
    this.tools = tools
    this.out = join(workFolder(), 'cmake')
    // ccache caches files that use a precompiled header only when told that this is meant.
    this.env = { ...toolEnvironment(), CCACHE_SLOPPINESS: 'pch_defines,time_macros' }
  }

  arguments(command, extra) {
    const cmakeJs = packageFolder('cmake-js')
    if (!cmakeJs) throw new SetupError('E_TOOL', 'missing: the npm package cmake-js, a dependency of prudent')
    const script = join(cmakeJs, 'bin', 'cmake-js')
    // All tools by path: cmake-js would look for some of them by names of its own.
    const { cmake, compiler, ninja } = this.tools
    const tools = [
      '--cmake-path',
      cmake,
      '--cc',
      compiler,
      '--cxx',
      compiler,
      '--generator',
      ninja ? 'Ninja' : 'Unix Makefiles',
    ]
    return [script, command, '--directory', this.root, '--out', this.out, ...tools, ...extra]
  }

  /** A cache left by a killed or different configuration is thrown away once. */
  async configure(definitions) {
    const args = this.arguments(
      'configure',
      Object.entries(definitions).map(([name, value]) => `--CD${name}=${value}`),
    )
    const options = { cwd: this.root, env: this.env, log: join(workFolder(), 'logs', 'configure.log') }
    const hadCache = existsSync(join(this.out, 'CMakeCache.txt'))
    if (hadCache && (await run(process.execPath, args, options)).status === 0) return
    rmSync(join(this.out, 'CMakeCache.txt'), { force: true })
    rmSync(join(this.out, 'CMakeFiles'), { recursive: true, force: true })
    await runOrFail('CMake', process.execPath, args, options)
  }

  /** `build`, not `compile`: the latter answers a compile error with a second build from nothing. */
  async build(label, target) {
    const jobs = buildJobs()
    const args = this.arguments('build', ['--parallel', String(jobs), ...(target ? ['--target', target] : [])])
    const progress = progressLine(`${label} (${jobs} ${jobs === 1 ? 'job' : 'jobs'}):`)
    const onLine = (line) => {
      const [, done, total] = /^\[\s*(\d+)(?:\/(\d+)|%)\]/.exec(line) ?? []
      if (done !== undefined) progress.update(Number(done), Number(total ?? 100))
    }
    const log = join(workFolder(), 'logs', 'build.log')
    try {
      await runOrFail('the native build', process.execPath, args, { cwd: this.root, env: this.env, log, onLine })
    } finally {
      progress.end()
    }
  }
}

function definitions(libtorch, tools, doctest) {
  const nvcc = libtorch.cuda ? findNvcc() : undefined
  return {
    ...(nvcc ? { CMAKE_CUDA_COMPILER: nvcc } : {}),
    PRUDENT_LIBTORCH: libtorch.folder,
    PRUDENT_PCH: 'ON',
    ...(tools.ccache ? { CMAKE_CXX_COMPILER_LAUNCHER: tools.ccache } : {}),
    PRUDENT_TESTS: doctest ? 'ON' : 'OFF',
    ...(doctest ? { DOCTEST_INCLUDE: doctest } : {}),
  }
}

/** Builds what is out of date. Returns whether the C++ tests stand built. */
export async function buildNative(root, libtorch, { tests }) {
  const tools = findBuildTools()
  const stampFile = join(workFolder(), 'stamps', 'native.json')
  const stamp = readJson(stampFile) ?? {}
  const now = fingerprints(root, libtorch, tools)
  const doctest = tests ? findDoctest() : undefined
  if (tests && !doctest) say('C++ tests are not built: doctest is missing (Debian package: doctest-dev)')
  const release = releaseFolder()
  const addonStands = stamp.addon === now.addon && OUTPUTS.every((name) => existsSync(join(release, name)))
  const testsStand = doctest === undefined || stamp.tests === now.tests
  if (addonStands && testsStand) return
  if (!tools.python) say('note: no Python 3 (Debian package: python3); libtorch is there, so the build goes on without')
  await checkVersions(tools)

  const cmake = new CmakeJs(root, tools)
  const values = definitions(libtorch, tools, doctest ?? (stamp.tests ? findDoctest() : undefined))
  const configured = {
    ...values,
    libtorch: libtorch.version,
    compiler: tools.compiler,
    generator: tools.ninja ? 'ninja' : 'make',
  }
  // CMake settles what changed in its own files when it builds; only other definitions need a configuration by hand.
  if (
    JSON.stringify(stamp.configured) !== JSON.stringify(configured) ||
    !existsSync(join(cmake.out, 'CMakeCache.txt'))
  ) {
    say('configuring the native build')
    writeJson(stampFile, {})
    await cmake.configure(values)
    writeJson(stampFile, { configured })
  }
  if (!addonStands) {
    await cmake.build('building the addon', 'addon')
    const absent = OUTPUTS.filter((name) => !existsSync(join(release, name)))
    if (absent.length > 0)
      throw new SetupError('E_BUILD', `the native build ended well, yet there is no ${absent.join(', ')} in ${release}`)
  }
  writeJson(stampFile, { configured, addon: now.addon, tests: addonStands ? stamp.tests : undefined })
  if (doctest && !testsStand) {
    await cmake.build('building the C++ tests', 'cpp_tests')
    writeJson(stampFile, { configured, addon: now.addon, tests: now.tests })
  }
}
