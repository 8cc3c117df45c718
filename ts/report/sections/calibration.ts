/** How β came about: calibration on other heads, then refinement by final KL. */
import type { Refinement, Summary } from '../../study/summary.js'
import { armLabels } from '../arms.js'
import { interval, percent, significant } from '../format.js'
import { html, type Markup, table } from '../markup.js'

export function calibration(summary: Summary): Markup {
  return html`<h3>β calibrated to equal final KL</h3>
<p>β is found by bisection in log β on heads that are not in the comparison; KL is exact (summed over the vocabulary) on fresh samples of final policies.</p>
${calibrationTable(summary)}
${refinements(summary)}`
}

function calibrationTable(summary: Summary): Markup {
  const labels = armLabels(summary.arms)
  return table(
    [
      { title: 'method', cell: (c: Summary['calibration'][number]) => labels.get(c.arm)?.method ?? c.arm },
      { title: 'heads', cell: (c) => labels.get(c.arm)?.recipe ?? '' },
      { title: 'β', numeric: true, cell: (c) => significant(c.beta, 4) },
      { title: 'target KL', numeric: true, cell: (c) => significant(c.targetKl) },
      { title: 'KL reached', numeric: true, cell: (c) => interval(c.kl) },
      { title: 'samples', numeric: true, cell: (c) => c.samples },
      { title: 'off by', numeric: true, cell: (c) => percent(c.relativeError) },
      { title: `within`, numeric: true, cell: (c) => `${percent(c.tolerance, 0)}: ${c.matched ? 'yes' : 'no'}` },
      { title: 'β tried', numeric: true, cell: (c) => c.trials.length },
    ],
    summary.calibration,
  )
}

interface AttemptRow {
  method: string
  recipe: string
  number: number
  targetKl: number
  attempt: Refinement['attempts'][number]
}

function refinements(summary: Summary): Markup | null {
  const labels = armLabels(summary.arms)
  const refined = summary.calibration.flatMap(({ arm, refinement }) => (refinement ? [{ arm, refinement }] : []))
  const [first] = refined
  if (!first) return null
  const rows = refined.flatMap(({ arm, refinement }) =>
    refinement.attempts.map((attempt, number): AttemptRow => {
      const label = labels.get(arm)
      const { targetKl } = refinement
      return { method: label?.method ?? arm, recipe: label?.recipe ?? '', number, targetKl, attempt }
    }),
  )
  return html`<h3>β refined by the final KL of the compared policies</h3>
<p>${whatWasDone(refined.map((entry) => entry.refinement))}</p>
${attemptTable(rows, first.refinement.tolerance)}`
}

function whatWasDone(all: readonly Refinement[]): string {
  const [{ tolerance, limit }] = all as [Refinement]
  const again = all.filter((refinement) => refinement.attempts.length > 1)
  const matched = again.filter((refinement) => refinement.matched).length
  const allowed = percent(tolerance)
  if (limit === 0)
    return `Refinement was off: every method is compared at its calibrated β, whether or not its mean final KL is within ${allowed} of vanilla’s.`
  if (again.length === 0)
    return `No method was trained again: at the calibrated β the mean final KL of each is within ${allowed} of vanilla’s.`
  return `Where a method’s mean final KL was more than ${allowed} off vanilla’s, β was moved and the method trained again on the same heads and seeds, at most ${limit} ${limit === 1 ? 'time' : 'times'}, and the attempt nearest in KL is the one compared (trained again: ${again.length} of ${all.length}, matched after it: ${matched}); what decides sees β and KL and no reward, so it cannot favour an outcome.`
}

function attemptTable(rows: readonly AttemptRow[], tolerance: number): Markup {
  const share = (value: number) => percent(value)
  return table(
    [
      { title: 'method', cell: (row: AttemptRow) => row.method },
      { title: 'heads', cell: (row) => row.recipe },
      { title: 'attempt', cell: (row) => (row.number === 0 ? 'calibrated' : `refined ${row.number}`) },
      { title: 'β', numeric: true, cell: (row) => significant(row.attempt.beta, 4) },
      { title: 'final KL', numeric: true, cell: (row) => significant(row.attempt.kl) },
      { title: 'vanilla’s', numeric: true, cell: (row) => significant(row.targetKl) },
      { title: 'difference', numeric: true, cell: (row) => interval(row.attempt.difference, share) },
      { title: `within ${percent(tolerance)}`, cell: (row) => (row.attempt.matched ? 'yes' : 'no') },
      { title: 'compared', cell: (row) => (row.attempt.used ? 'yes' : 'no') },
    ],
    rows,
  )
}
