/** Sources of sigma side by side, and sigma taken apart, as Markdown and as a page. */
import { COMPONENTS, type ComponentName } from '../evaluation/uncertainty/crossed-anova.js'
import type { SourceResult, SourceStatistic } from '../uncertainty/comparison/compare.js'
import { type SplitResult, VIEWS, type View } from '../uncertainty/comparison/split.js'
import { interval, percent, seconds, significant } from './format.js'
import { html, table } from './markup.js'
import { page } from './page.js'
import { textTable } from './text-table.js'

export interface SourcesReport {
  base: { description: string; hidden: number; trainPairs: number; heldOutPairs: number; featureSeconds: number }
  bootstrap: number
  level: number
  seed: number
  sources: SourceResult[]
  split: SplitResult | null
}

interface Column<Row> {
  title: string
  numeric?: boolean
  cell: (row: Row) => string
}

const number = (value: number | null): string => (value !== null && Number.isFinite(value) ? significant(value) : 'n/a')
const estimate = (title: string, name: SourceStatistic): Column<SourceResult> => ({
  title,
  numeric: true,
  cell: ({ statistics }) => (Number.isFinite(statistics[name].estimate) ? interval(statistics[name], number) : 'n/a'),
})
const plain = (title: string, of: (row: SourceResult) => number | null): Column<SourceResult> => ({
  title,
  numeric: true,
  cell: (row) => number(of(row)),
})
const NAME: Column<SourceResult> = { title: 'source', cell: ({ name }) => name }

const ERRORS: Column<SourceResult>[] = [
  NAME,
  estimate('error rate', 'errorRate'),
  estimate('AUROC of sigma', 'aurocSigma'),
  estimate('of the probability', 'aurocProbability'),
  estimate('of the margin', 'aurocMargin'),
  estimate('AURC of sigma', 'aurcSigma'),
  estimate('of the probability', 'aurcProbability'),
  estimate('of the margin', 'aurcMargin'),
]
const SIGMA: Column<SourceResult>[] = [
  NAME,
  estimate('ECE', 'ece'),
  estimate('log loss', 'logLoss'),
  plain('mean sigma', (row) => row.meanSigma),
  plain('CV of sigma', (row) => row.cvRaw),
  plain('centred', (row) => row.cvCentred),
  plain('sigma of the difference', (row) => row.meanSigmaDifference),
  plain('its correlation with |margin|', (row) => row.marginCorrelation),
]
const COST: Column<SourceResult>[] = [
  NAME,
  { title: 'heads', numeric: true, cell: ({ heads }) => String(heads) },
  plain('effective heads (errors)', (row) => row.effectiveHeads),
  plain('effective directions', (row) => row.effectiveDirections),
  { title: 'fit', numeric: true, cell: ({ cost }) => seconds(cost.fitSeconds) },
  plain('weights', (row) => row.cost.weights),
  plain('µs a response', (row) => row.cost.microsecondsPerResponse),
  {
    title: 'fit settings',
    cell: ({ fit }) =>
      Object.entries(fit)
        .map(([key, value]) => `${key} ${number(value)}`)
        .join(', '),
  },
]

interface ComponentRow {
  component: string
  of: (view: View) => string
}

const componentRows = ({ views }: SplitResult): ComponentRow[] => [
  ...(Object.keys(COMPONENTS) as ComponentName[]).map((name) => ({
    component: COMPONENTS[name],
    of: (view: View) => {
      const { share, mean, low, high } = views[view].components[name]
      return `${percent(share)} (${number(mean)}; ${number(low)} to ${number(high)})`
    },
  })),
  { component: 'variance, all', of: (view) => number(views[view].variance) },
  { component: 'CV of sigma over rows', of: (view) => number(views[view].cvOfSigma) },
]
const COMPONENT_COLUMNS: Column<ComponentRow>[] = [
  { title: 'from', cell: ({ component }) => component },
  ...VIEWS.map((view): Column<ComponentRow> => ({ title: view, numeric: true, cell: ({ of }) => of(view) })),
]

const ERROR_NOTE =
  'A pair is wrong when the mean of heads does not prefer the chosen side. AUROC: probability that a wrong pair has the larger value than a right one (0.5 says nothing). AURC: area under the risk-coverage curve, lower is better. Sigma is that of the difference; the probability takes sigma in (mean over heads, or MacKay’s moderated sigmoid); the margin needs no sigma: what sigma is worth is what the others have beyond it.'
const SIGMA_NOTE =
  'CV: standard deviation over responses of sigma over its mean; centred: each head (column) less its mean over responses, because Bradley-Terry fixes scores only up to a constant.'
const COST_NOTE =
  'Effective heads: participation ratio of the correlations of the heads’ errors. Effective directions: participation ratio of the covariance of what sigma is made of, over at most 300 pairs; n heads have n − 1 at most. Features of the base, which all share, are not in the cost.'
const SPLIT_NOTE =
  'Variance components of the crossed grid (analysis of variance, random effects), as a share of their sum; in brackets the mean over rows, and the 5 and 95 % quantiles over rows of single rows’ estimates, which may be below 0.'

const intervalNote = ({ level, bootstrap, seed }: SourcesReport): string =>
  `In brackets: ${percent(level, 0)} percentile bootstrap over pairs, ${bootstrap} resamples, seed ${seed}.`

const baseNote = ({ base }: SourcesReport): string =>
  `Base: ${base.description}. ${base.hidden} features, ${base.trainPairs} pairs to train on, ${base.heldOutPairs} to measure on; features took ${seconds(base.featureSeconds)}.`

/** What the split says, in words. */
export function splitReading({ views, start, shape, heads, steps, seconds: time, accuracy }: SplitResult): string[] {
  const share = (view: View) => percent(views[view].components.i.share)
  return [
    `${shape[0]} starts × ${shape[1]} bootstrap samples × ${shape[2]} orders: ${heads} heads, ${steps} steps, ${seconds(time)}, mean accuracy ${percent(accuracy)}.`,
    `The start alone makes ${share('raw')} of the variance of a score, ${share('centred')} after centring, ${share('difference')} of a difference.`,
    `Heads on the same pairs in the same order had, before their first step, ${percent(start.raw.ratio)} of the variance of scores that they end with (${number(start.raw.before)} of ${number(start.raw.after)}), ${percent(start.difference.ratio)} of that of differences; the correlation of sigma before and after is ${number(start.raw.correlation)} over responses and ${number(start.difference.correlation)} over differences.`,
  ]
}

export function sourcesMarkdown(report: SourcesReport): string {
  const { sources, split } = report
  const parts = ['# Sources of sigma\n', `${baseNote(report)}\n`]
  if (sources.length > 0) {
    parts.push(
      `## Does sigma predict errors?\n\n${textTable(ERRORS, sources)}\n${ERROR_NOTE}\n`,
      `## Calibration, and how sigma spreads\n\n${textTable(SIGMA, sources)}\n${SIGMA_NOTE}\n`,
      `## Independent members and cost\n\n${textTable(COST, sources)}\n${COST_NOTE}\n`,
      `${intervalNote(report)}\n`,
    )
  }
  if (split !== null)
    parts.push(
      `## Where sigma comes from\n\n${textTable(COMPONENT_COLUMNS, componentRows(split))}\n${SPLIT_NOTE}\n`,
      `${splitReading(split).join('\n')}\n`,
    )
  return parts.join('\n')
}

export async function sourcesHtml(report: SourcesReport): Promise<string> {
  const { sources, split } = report
  const compared = html`<h2>Does sigma predict errors?</h2>${table(ERRORS, sources)}<p class="soft">${ERROR_NOTE}</p>
<h2>Calibration, and how sigma spreads</h2>${table(SIGMA, sources)}<p class="soft">${SIGMA_NOTE}</p>
<h2>Independent members and cost</h2>${table(COST, sources)}<p class="soft">${COST_NOTE}</p>
<p class="soft">${intervalNote(report)}</p>`
  const apart =
    split &&
    html`<h2>Where sigma comes from</h2>${table(COMPONENT_COLUMNS, componentRows(split))}<p class="soft">${SPLIT_NOTE}</p>
${splitReading(split).map((line) => html`<p>${line}</p>`)}`
  return page(
    'Sources of sigma',
    html`<h1>Sources of sigma</h1>
<p class="soft">${baseNote(report)}</p>
${sources.length > 0 ? compared : ''}
${apart ?? ''}`,
  )
}
