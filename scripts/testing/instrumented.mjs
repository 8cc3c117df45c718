// C++ tests built with sanitizers, and small faulty programs that show that a tool finds what it is for.
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runOrFail } from '../setup/command.mjs'
import { root } from '../setup/folders.mjs'
import { resolveLibtorch } from '../setup/libtorch.mjs'
import { buildJobs, findDoctest } from '../setup/native.mjs'
import { SetupError } from '../setup/report.mjs'
import { findBuildTools } from '../setup/tools.mjs'

/**
 * Builds C++ tests in a folder of their own below build/.
 * @param sanitizers as -fsanitize takes them
 * @returns the folder of the executables
 */
export async function buildInstrumented(name, sanitizers, targets) {
  const build = join(root, 'build', name)
  const { cmake, compiler, ninja, ccache } = findBuildTools()
  const { folder } = await resolveLibtorch()
  const settings = {
    CMAKE_BUILD_TYPE: 'RelWithDebInfo',
    CMAKE_CXX_COMPILER: compiler,
    PRUDENT_LIBTORCH: folder,
    PRUDENT_TESTS: 'ON',
    PRUDENT_PCH: 'ON',
    PRUDENT_SANITIZE: sanitizers,
    DOCTEST_INCLUDE: findDoctest(),
    ...(ccache ? { CMAKE_CXX_COMPILER_LAUNCHER: ccache } : {}),
  }
  const definitions = Object.entries(settings).map(([key, value]) => `-D${key}=${value}`)
  const options = { env: { ...process.env, CCACHE_SLOPPINESS: 'pch_defines,time_macros' } }
  mkdirSync(build, { recursive: true })
  const generator = ninja ? 'Ninja' : 'Unix Makefiles'
  await runOrFail('CMake', cmake, ['-S', root, '-B', build, '-G', generator, ...definitions], options)
  const wanted = ['--target', ...targets, '--parallel', String(buildJobs())]
  await runOrFail('the build', cmake, ['--build', build, ...wanted], options)
  return join(build, 'tests')
}

/**
 * Runs a faulty program under a tool, which must report it: a check that could not fail would say nothing.
 * @param fault `report`: what the tool says of it
 * @throws E_INTERNAL where the fault goes unseen
 */
export async function mustFind(name, source, fault) {
  const { flags = [], command = [], env = {}, report } = fault
  const folder = join(root, 'build', 'faults')
  mkdirSync(folder, { recursive: true })
  const [file, program] = [join(folder, `${name}.cpp`), join(folder, name)]
  writeFileSync(file, source)
  await runOrFail('the compiler', findBuildTools().compiler, [
    '-std=c++20',
    '-g',
    '-pthread',
    ...flags,
    file,
    '-o',
    program,
  ])
  const [tool, ...args] = [...command, program]
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', env: { ...process.env, ...env } })
  if (status === 0 || !`${stdout}${stderr}`.includes(report))
    throw new SetupError('E_INTERNAL', `${name}: the fault was not reported\n${stdout}${stderr}`)
}
