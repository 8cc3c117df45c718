// Adds up what the steps of .ci/run wrote, prints the skips with their reasons, and ends with the one line of totals.
import { readFileSync } from 'node:fs'
import { checkSkips } from './skips.mjs'

const steps = readFileSync(process.env.PRUDENT_CI_TOTALS, 'utf8')
  .split('\n')
  .filter(Boolean)
  .map((line) => JSON.parse(line))
const sum = (name) => steps.reduce((total, step) => total + step[name], 0)
const skipped = steps.flatMap((step) => step.skipped)
const { unlisted, lines } = checkSkips(skipped)
for (const line of lines) process.stdout.write(`${line}\n`)
const failed = sum('failed') + unlisted + Number(process.env.PRUDENT_CI_BROKEN ?? 0)
process.stdout.write(
  `${sum('passed')} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}\n`,
)
process.exitCode = failed > 0 ? 1 : 0
