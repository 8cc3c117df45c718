// Runs one doctest executable and reads its totals.
import { spawnSync } from 'node:child_process'
import { basename } from 'node:path'

/** @returns {{ passed: number, failed: number, skipped: string[], failures: string[] }} test cases */
export function runDoctest(executable, { args = [], env = {} } = {}) {
  const name = basename(executable)
  const begun = Date.now()
  const { stdout, stderr, status, signal } = spawnSync(executable, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
  })
  const seconds = ((Date.now() - begun) / 1000).toFixed(1)
  const totals = /test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped/.exec(stdout ?? '')
  const [passed, failed, skippedCount] = totals ? totals.slice(2).map(Number) : [0, 1, 0]
  if (!totals || failed > 0 || status !== 0) process.stdout.write(`${stdout}${stderr}`)
  if (!totals) process.stdout.write(`${name}: ended without a summary (${signal ?? `status ${status}`})\n`)
  process.stdout.write(`${name}: ${passed} passed, ${failed} failed in ${seconds} s\n`)
  const skipped = skippedCount > 0 && args.length === 0 ? skippedNames(executable, skippedCount) : []
  const allFailed = status === 0 ? failed : Math.max(1, failed)
  return { passed, failed: allFailed, skipped, failures: allFailed > 0 ? failedNames(name, stdout ?? '') : [] }
}

/** doctest heads what it prints of a case by its name; an executable that died says no more than its own. */
function failedNames(executable, stdout) {
  const cases = [...stdout.matchAll(/^TEST CASE:\s+(.+)$/gm)].map(([, name]) => `${executable}: ${name}`)
  return cases.length > 0 ? [...new Set(cases)] : [executable]
}

/** Names of the cases that carry doctest::skip(). */
function skippedNames(executable, count) {
  const list = (args) =>
    spawnSync(executable, ['--list-test-cases', ...args], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter((line) => line && !/^[[=]/.test(line))
  const run = new Set(list([]))
  const names = list(['--no-skip=true']).filter((name) => !run.has(name))
  return names.length === count
    ? names
    : Array.from({ length: count }, (_, index) => `${basename(executable)} skip ${index + 1}`)
}
