// npm run check:deep: what takes too long for every run of the tests. Steps, all or those named:
//   isa         the C++ tests once per instruction set, with the dispatch capped (PRUDENT_CPU_CAPABILITY)
//   sanitizers  the C++ tests with AddressSanitizer and UndefinedBehaviorSanitizer in prudent's own code. libtorch itself is not
//               instrumented, so leaks (its registries live for ever) and container overflow (its vectors do not annotate) are off
//               fuzzers among them run a minute each
//   threads     the executor, with models that train and score on its lanes, under ThreadSanitizer (scripts/testing/races.mjs)
//   valgrind    the addon's life cycle under valgrind's memcheck (scripts/testing/valgrind.mjs)
//   fuzz        the fuzzers of TypeScript's parsers with many inputs, from a seed that is printed
//   nodes       the installed package under every Node that prudent runs on: npm's packages of Node go into the cache
//   long        jest files named *.long.test.ts: the soak (models made, used and disposed of until memory would show a leak) and
//               tests that take minutes
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { runOrFail } from './setup/command.mjs'
import { cacheFolder, root } from './setup/folders.mjs'
import { filesBelow } from './setup/stamps.mjs'
import { findNpm } from './setup/tools.mjs'
import { runDoctest } from './testing/doctest.mjs'
import { buildInstrumented } from './testing/instrumented.mjs'
import { buildRaceTests, RACE_OPTIONS, showsRaces } from './testing/races.mjs'
import { lifeCycleIsClean } from './testing/valgrind.mjs'

const SANITIZER_OPTIONS = {
  // A test asks for more memory than there is, and an allocation that fails must return, as it does without sanitizers.
  ASAN_OPTIONS:
    'detect_leaks=0:detect_container_overflow=0:alloc_dealloc_mismatch=0:detect_odr_violation=0:allocator_may_return_null=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
}
const totals = { passed: 0, failed: 0 }

function say(line) {
  process.stdout.write(`check-deep: ${line}\n`)
}

function runAll(folder, env) {
  for (const name of readdirSync(folder)
    .filter((entry) => /^test_\w+$/.test(entry))
    .sort()) {
    const { passed, failed } = runDoctest(join(folder, name), { env })
    totals.passed += passed
    totals.failed += failed
  }
}

function setUp() {
  const { status } = spawnSync(process.execPath, [join(root, 'scripts', 'setup.mjs'), '--tests'], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

function isa() {
  for (const capability of ['baseline', 'avx2', 'avx512']) {
    say(`C++ tests, kernels capped at ${capability}`)
    runAll(join(root, 'build', 'cmake', 'tests'), { PRUDENT_CPU_CAPABILITY: capability })
  }
}

async function sanitizers() {
  say('building the C++ tests with sanitizers')
  const tests = await buildInstrumented('sanitizers', 'address,undefined', ['cpp_tests'])
  say('C++ tests with sanitizers')
  runAll(tests, { ...SANITIZER_OPTIONS, PRUDENT_FUZZ_SECONDS: '60' })
}

async function threads() {
  say('the executor under ThreadSanitizer')
  await showsRaces()
  const { passed, failed } = runDoctest(await buildRaceTests(), { env: RACE_OPTIONS })
  totals.passed += passed
  totals.failed += failed
}

async function valgrind() {
  say("the addon's life cycle under valgrind")
  totals[(await lifeCycleIsClean()) ? 'passed' : 'failed'] += 1
}

function fuzz() {
  const seed = String(Date.now() % 2 ** 31)
  say(`fuzzers of parsers, PRUDENT_FUZZ_SEED=${seed}`)
  const env = { ...process.env, PRUDENT_FUZZ_SEED: seed, PRUDENT_FUZZ_RUNS: '20000' }
  const options = ['--config', join(root, 'jest.config.mjs'), '--testTimeout', '600000', 'fuzz/']
  const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js')
  const node = ['--experimental-vm-modules', '--no-warnings']
  const { status } = spawnSync(process.execPath, [...node, jest, ...options], { cwd: root, stdio: 'inherit', env })
  totals[status === 0 ? 'passed' : 'failed'] += 1
}

/** npm's package of one Node, without scripts: the program alone. */
async function nodes() {
  const [command, ...args] = findNpm()
  const name = `node-${process.platform}-${process.arch}`
  for (const major of [20, 22, 24].filter((each) => String(each) !== process.versions.node.split('.')[0])) {
    const folder = join(cacheFolder(), `node-${major}`)
    if (existsSync(join(folder, 'node_modules', name, 'bin', 'node'))) continue
    say(`installing ${name}@${major} into the cache`)
    mkdirSync(folder, { recursive: true })
    const options = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
    await runOrFail('npm', command, [...args, ...options, `${name}@${major}`], { cwd: folder })
  }
  say('the installed package under other versions of Node')
  const jest = [join(root, 'scripts', 'test.mjs'), 'test/package/node-versions']
  const { status } = spawnSync(process.execPath, jest, { cwd: root, stdio: 'inherit' })
  totals[status === 0 ? 'passed' : 'failed'] += 1
}

function long() {
  const files = filesBelow(join(root, 'dist', 'test'), (file) => file.endsWith('.long.test.js'))
  say(`long tests: ${files.length} files`)
  if (files.length === 0) return
  const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js')
  const report = join(root, 'build', 'logs', 'jest-long.json')
  const options = [
    '--config',
    join(root, 'jest.config.mjs'),
    '--testPathIgnorePatterns',
    '/node_modules/',
    '--runInBand',
  ]
  const node = ['--expose-gc', '--experimental-vm-modules', '--no-warnings']
  const { status } = spawnSync(
    process.execPath,
    [...node, jest, ...options, '--outputFile', report, '--runTestsByPath', ...files],
    { cwd: root, stdio: 'inherit' },
  )
  totals[status === 0 ? 'passed' : 'failed'] += files.length
}

const steps = { isa, sanitizers, threads, valgrind, fuzz, nodes, long }
const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(steps)
const unknown = wanted.filter((name) => !(name in steps))
if (unknown.length > 0) {
  process.stderr.write(
    `check-deep: E_USAGE: no step ${unknown.join(', ')}; there are ${Object.keys(steps).join(', ')}\n`,
  )
  process.exit(2)
}
setUp()
if (
  wanted.some((name) => ['isa', 'sanitizers', 'threads'].includes(name)) &&
  !existsSync(join(root, 'build', 'cmake', 'tests'))
) {
  say('isa, sanitizers and threads need doctest (Debian package: doctest-dev)')
  process.exit(1)
}
try {
  for (const name of wanted) await steps[name]()
} catch (error) {
  say(`${error.code ?? 'E_INTERNAL'}: ${error.message}`)
  totals.failed += 1
}
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed\n`)
process.exitCode = totals.failed > 0 ? 1 : 0
