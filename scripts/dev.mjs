// npm run dev -- OP: rebuilds what changed of one kernel and runs its C++ cases (named "OP: …"). Without OP: all kernels.
// Everything after OP is handed to doctest, e.g. -s.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { $ } from 'zx'
import { runOrFail } from './setup/command.mjs'
import { root } from './setup/folders.mjs'
import { withLock } from './setup/lock.mjs'
import { buildJobs, findDoctest } from './setup/native.mjs'
import { findBuildTools } from './setup/tools.mjs'

const run = $({ stdio: 'inherit', nothrow: true })
const [op, ...rest] = process.argv.slice(2)
const build = join(root, 'build', 'cmake')
const kernels = readdirSync(join(root, 'native', 'kernels'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'common')
  .map((entry) => entry.name)

function stop(message, status) {
  process.stderr.write(`dev: ${message}\n`)
  process.exit(status)
}

function isConfigured() {
  const cache = join(build, 'CMakeCache.txt')
  return existsSync(cache) && /^PRUDENT_TESTS:\w+=ON$/m.test(readFileSync(cache, 'utf8'))
}

if (op !== undefined && !kernels.includes(op)) stop(`E_USAGE: no kernel ${op}; there are ${kernels.join(', ')}`, 2)
if (!findDoctest()) stop('E_TOOL: missing: doctest (Debian package: doctest-dev)', 1)
if (!isConfigured()) {
  const { exitCode } = await run`${process.execPath} ${join(root, 'scripts', 'setup.mjs')} --tests`
  if (exitCode !== 0) process.exit(exitCode ?? 1)
}

const begun = Date.now()
try {
  await withLock(join(root, 'build', 'setup.lock'), 'a set-up', () =>
    runOrFail('the build', findBuildTools().cmake, [
      '--build',
      build,
      '--target',
      'test_kernels',
      '--parallel',
      String(buildJobs()),
    ]),
  )
} catch (error) {
  stop(`${error.code ?? 'E_INTERNAL'}: ${error.message}`, 1)
}
process.stderr.write(`dev: built in ${((Date.now() - begun) / 1000).toFixed(1)} s\n`)
const cases = op === undefined ? [] : [`--test-case=${op}:*`]
process.exitCode = (await run`${join(build, 'tests', 'test_kernels')} ${[...cases, ...rest]}`).exitCode ?? 1
