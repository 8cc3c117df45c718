// What a runner of tests has seen, and the last lines that say it: skips, the names of failures, and one line of totals.
import { appendFileSync } from 'node:fs'
import { checkSkips } from './skips.mjs'

/** Names of failures stand beside their number: a runner may know only that something failed. */
export function emptyTotals() {
  return { passed: 0, failed: 0, skipped: [], failures: [] }
}

export function addUp(runs) {
  return runs.reduce(
    (sum, run) => ({
      passed: sum.passed + run.passed,
      failed: sum.failed + run.failed,
      skipped: [...sum.skipped, ...run.skipped],
      failures: [...sum.failures, ...(run.failures ?? [])],
    }),
    emptyTotals(),
  )
}

/** .ci/run adds up what its steps leave here, and judges the skips of all of them. */
export function leaveForSum(totals) {
  if (process.env.PRUDENT_CI_TOTALS) appendFileSync(process.env.PRUDENT_CI_TOTALS, `${JSON.stringify(totals)}\n`)
}

/** The end of a step that is no runner of tests: its totals are .ci/run's alone to print. */
export function endStep(totals) {
  leaveForSum(totals)
  process.exitCode = totals.failed > 0 ? 1 : 0
}

/** Failures come last but for the totals, where the end of a long log shows them. */
export function conclude({ passed, failed, skipped, failures }) {
  const { unlisted, lines } = checkSkips(skipped)
  for (const line of lines) process.stdout.write(`${line}\n`)
  for (const name of failures) process.stdout.write(`failed: ${name}\n`)
  const allFailed = failed + unlisted.length
  const ending = skipped.length > 0 ? `, ${skipped.length} skipped` : ''
  process.stdout.write(`${passed} passed, ${allFailed} failed${ending}\n`)
  process.exitCode = allFailed > 0 ? 1 : 0
}
