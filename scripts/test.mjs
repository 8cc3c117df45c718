// Runs every test: C++ (doctest), then jest. Ends with one line that sums the runners: N passed, N failed[, N skipped].
// Arguments are handed to jest: `npm test -- test/data` runs what matches, without the C++ tests.
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup/folders.mjs'
import { findDoctest } from './setup/native.mjs'
import { runDoctest } from './testing/doctest.mjs'
import { checkSkips } from './testing/skips.mjs'

const jestReport = join(root, 'build', 'logs', 'jest.json')
const patterns = process.argv.slice(2)

/** Skips are { test, reason? }; failures are names. */
function emptyTotals() {
  return { passed: 0, failed: 0, skipped: [] }
}

function runCpp() {
  const folder = join(root, 'build', 'cmake', 'tests')
  const executables = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => /^test_\w+$/.test(name))
        .sort()
    : []
  if (findDoctest() === undefined || executables.length === 0) {
    process.stdout.write('C++ tests SKIPPED: they need doctest (Debian package: doctest-dev)\n')
    return { ...emptyTotals(), skipped: ['C++ tests'] }
  }
  const totals = emptyTotals()
  // The kernels choose their instruction set at run time: the lesser ones are tested by capping the choice.
  const runs = executables.flatMap((name) =>
    (name === 'test_kernels' ? ['', 'avx512', 'avx2', 'baseline'] : ['']).map((capability) => [name, capability]),
  )
  for (const [name, capability] of runs) {
    const result = runDoctest(join(folder, name), { env: { PRUDENT_CPU_CAPABILITY: capability } })
    totals.passed += result.passed
    totals.failed += result.failed
    if (capability === '') totals.skipped.push(...result.skipped) // the capped runs skip the same ones
  }
  return totals
}

function runJest() {
  mkdirSync(join(root, 'build', 'logs'), { recursive: true })
  rmSync(jestReport, { force: true })
  const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js')
  // jest looks for compiled files; patterns are written as people see the sources. From the first option on all is jest's own.
  const firstOption = patterns.findIndex((pattern) => pattern.startsWith('-'))
  const paths = firstOption < 0 ? patterns : patterns.slice(0, firstOption)
  const compiled = paths.map((path) => path.replace(/^(\.\/)?(test\/)?/, 'dist/test/').replace(/\.ts$/, '.js'))
  const wanted = [...compiled, ...patterns.slice(paths.length)]
  const status = spawnSync(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--no-warnings',
      jest,
      '--config',
      join(root, 'jest.config.mjs'),
      '--json',
      '--outputFile',
      jestReport,
      ...wanted,
    ],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  ).status
  if (!existsSync(jestReport)) return { ...emptyTotals(), failed: 1 }
  const report = JSON.parse(readFileSync(jestReport, 'utf8'))
  // A suite that cannot be loaded has no tests of its own to fail.
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites
  const pending = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'pending' || status === 'todo'),
  )
  return {
    passed: report.numPassedTests,
    failed: status === 0 ? failed : Math.max(1, failed),
    skipped: pending.map(({ fullName }) => fullName),
  }
}

const runs = patterns.length === 0 ? [runCpp(), runJest()] : [runJest()]
const passed = runs.reduce((sum, run) => sum + run.passed, 0)
const skipped = runs.flatMap((run) => run.skipped)
const { unlisted, lines } = checkSkips(skipped)
for (const line of lines) process.stdout.write(`${line}\n`)
const ownFailed = runs.reduce((sum, run) => sum + run.failed, 0)
const failed = ownFailed + unlisted
// .ci/run adds up what its steps write here (and judges the skips of all of them).
if (process.env.PRUDENT_CI_TOTALS) {
  appendFileSync(process.env.PRUDENT_CI_TOTALS, `${JSON.stringify({ passed, failed: ownFailed, skipped })}\n`)
}
process.stdout.write(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}\n`)
process.exitCode = failed > 0 ? 1 : 0
