// Runs every test: C++ (doctest), then jest. Ends with one line that sums the runners: N passed, N failed[, N skipped].
// Arguments are handed to jest: `npm test -- test/data` runs what matches, without the C++ tests.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './setup/folders.mjs'
import { findDoctest } from './setup/native.mjs'
import { runDoctest } from './testing/doctest.mjs'
import { addUp, conclude, emptyTotals, leaveForSum } from './testing/totals.mjs'

const jestReport = join(root, 'build', 'logs', 'jest.json')
const patterns = process.argv.slice(2)

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
  // The kernels choose their instruction set at run time: the lesser ones are tested by capping the choice.
  const runs = executables.flatMap((name) =>
    (name === 'test_kernels' ? ['', 'avx512', 'avx2', 'baseline'] : ['']).map((capability) => [name, capability]),
  )
  return addUp(
    runs.map(([name, capability]) => {
      const result = runDoctest(join(folder, name), { env: { PRUDENT_CPU_CAPABILITY: capability } })
      if (capability === '') return result
      // The capped runs skip the same ones.
      return { ...result, skipped: [], failures: result.failures.map((failure) => `${failure} (${capability})`) }
    }),
  )
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
  if (!existsSync(jestReport)) return { ...emptyTotals(), failed: 1, failures: ['jest ended without a report'] }
  const report = JSON.parse(readFileSync(jestReport, 'utf8'))
  // A suite that cannot be loaded has no tests of its own to fail.
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites
  const named = (...statuses) =>
    report.testResults.flatMap(({ assertionResults }) =>
      assertionResults.filter(({ status: one }) => statuses.includes(one)).map(({ fullName }) => fullName),
    )
  const unloaded = report.testResults
    .filter(({ status: one, assertionResults }) => one === 'failed' && assertionResults.length === 0)
    .map(({ name }) => relative(root, name))
  return {
    passed: report.numPassedTests,
    failed: status === 0 ? failed : Math.max(1, failed),
    skipped: named('pending', 'todo'),
    failures: [...named('failed'), ...unloaded],
  }
}

const totals = addUp(patterns.length === 0 ? [runCpp(), runJest()] : [runJest()])
leaveForSum(totals)
conclude(totals)
