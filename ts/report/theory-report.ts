/** The theory as a page: figures 2 to 5, three theorems against simulation. */
import type { Bandit } from '../theory/bandit.js'
import type { Coverage } from '../theory/coverage.js'
import type { ReturnResult } from '../theory/returns.js'
import type { TheorySummary } from '../theory/study.js'
import { COLOURS, chart } from './chart.js'
import { interval, significant } from './format.js'
import { type Column, type Fragment, html, type Markup, table } from './markup.js'
import { figure, page, section } from './page.js'

const POLICIES = { range: [COLOURS.vanilla, COLOURS.sigma] }
const PAPER = [
  { unaware: '4.643 / 0.13', aware: '4.644 / 0.04' },
  { unaware: '0.14 (a slip) / 0.14', aware: '0.13 (a slip) / 0.12' },
]

/** Of a mean whose interval is narrower than a thousandth of it. */
const fourDigits = (value: number) => significant(value, 4)

export async function theoryReport(summary: TheorySummary): Promise<string> {
  const returns = await Promise.all(summary.settings.map(returnsFigure))
  const coverage = await coverageFigure(summary.coverage)
  const bandit = await banditFigure(summary.bandit)
  return page(
    'prudent theory',
    html`<h1>The paper's theory, simulated</h1>
<p>${summary.draws.toLocaleString('en-GB')} draws in ${summary.dimension} dimensions, seed ${summary.seed}; intervals are 95 %. Made by
<code>prudent theory --output DIR</code>.</p>
<ul>${summary.findings.map((finding) => html`<li>${finding}</li>`)}</ul>
${section('figure-2', 'Figure 2: three arms', [
  figure(
    bandit,
    'True reward, estimate with two standard deviations, and the probability of each arm under both steps.',
  ),
  html`<p>Return: reference ${significant(summary.bandit.returns.reference)}, unaware ${significant(summary.bandit.returns.unaware)}, aware
${significant(summary.bandit.returns.aware)}.</p>`,
])}
${section('figures-3-5', 'Figures 3 to 5: returns', [
  ...returns.map((drawing, i) => figure(drawing, (summary.settings[i] as ReturnResult).name)),
  table(
    RETURN_COLUMNS,
    summary.settings.map((result, i) => ({ result, paper: PAPER[i] })),
  ),
])}
${section('theorem-3-3', 'Theorem 3.3: probability of a return not above the reference', table(RISK_COLUMNS, riskRows(summary)))}
${section('theorem-2-2', 'Theorem 2.2: coverage', [
  figure(
    coverage,
    'Simulated coverage against the printed bound, that of the proof, and the exact probability; beta in units of the square root of the dimension.',
  ),
  table(COVERAGE_COLUMNS, summary.coverage),
])}
${section('theorem-3-6', 'Theorem 3.6: the optimum', optimumTable(summary))}`,
  )
}

const RETURN_COLUMNS: Column<{ result: ReturnResult; paper: (typeof PAPER)[number] | undefined }>[] = [
  { title: 'setting', cell: ({ result }) => `${result.name} (${result.variances.join(', ')})` },
  { title: 'epsilon', numeric: true, cell: ({ result }) => significant(result.epsilon) },
  { title: 'unaware: mean', cell: ({ result }) => interval(result.intervals.meanUnaware, fourDigits) },
  { title: 'unaware: std', cell: ({ result }) => interval(result.intervals.stdUnaware) },
  { title: 'paper', cell: ({ paper }) => paper?.unaware },
  { title: 'aware: mean', cell: ({ result }) => interval(result.intervals.meanAware, fourDigits) },
  { title: 'aware: std', cell: ({ result }) => interval(result.intervals.stdAware) },
  { title: 'paper', cell: ({ paper }) => paper?.aware },
  { title: 'below reference, unaware', cell: ({ result }) => interval(result.belowReference.unaware) },
  { title: 'below reference, aware', cell: ({ result }) => interval(result.belowReference.aware) },
]

const riskRows = (summary: TheorySummary) =>
  summary.settings.flatMap(({ name, underperformance }) => underperformance.map((point) => ({ name, ...point })))

const RISK_COLUMNS: Column<ReturnType<typeof riskRows>[number]>[] = [
  { title: 'setting', cell: ({ name }) => name },
  { title: 'signal', numeric: true, cell: ({ signal }) => significant(signal) },
  { title: 'unaware, simulated', cell: ({ unaware }) => interval(unaware) },
  { title: 'closed form', numeric: true, cell: ({ unaware }) => significant(unaware.closedForm) },
  { title: 'aware, simulated', cell: ({ aware }) => interval(aware) },
  { title: 'closed form', numeric: true, cell: ({ aware }) => significant(aware.closedForm) },
]

const COVERAGE_COLUMNS: Column<Coverage>[] = [
  { title: 'dimension', numeric: true, cell: (point) => point.dimension },
  { title: '|r*|', numeric: true, cell: (point) => significant(point.reward) },
  { title: 'beta', numeric: true, cell: (point) => significant(point.beta) },
  { title: 'simulated', cell: (point) => interval(point.simulated) },
  { title: 'exact', numeric: true, cell: (point) => significant(point.exact) },
  { title: 'printed', numeric: true, cell: (point) => significant(point.printed) },
  { title: 'of the proof', numeric: true, cell: (point) => significant(point.corrected) },
  { title: 'event of the proof', numeric: true, cell: (point) => significant(point.event) },
]

function optimumTable({ optimum }: TheorySummary): Fragment {
  const { distance, shortfall, atEqualConstraint, shifted, problems, responses, beta } = optimum
  const rows = [
    { what: 'largest distance to the numerical optimum (total variation)', ...distance },
    { what: 'mean shortfall of the objective', ...shortfall },
    { what: `mean reward at constraint ${atEqualConstraint.epsilon}`, ...atEqualConstraint },
    { what: 'largest move when a constant is added to all estimates', ...shifted },
  ]
  return [
    html`<p>${problems} problems of ${responses} responses, beta ${beta}.</p>`,
    table(
      [
        { title: '', cell: (row) => row.what },
        { title: 'with the multiplier', numeric: true, cell: (row) => significant(row.exact) },
        { title: 'as printed', numeric: true, cell: (row) => significant(row.printed) },
      ],
      rows,
    ),
  ]
}

function returnsFigure({ name, histogram }: ReturnResult): Promise<Markup> {
  return chart(`Returns, ${name}`, {
    data: { values: histogram },
    width: 480,
    height: 200,
    mark: { type: 'bar', opacity: 0.55, binSpacing: 0 },
    encoding: {
      x: { field: 'from', type: 'quantitative', bin: { binned: true }, title: 'return less the reference’s' },
      x2: { field: 'to' },
      y: { field: 'count', type: 'quantitative', stack: null, title: 'draws' },
      color: { field: 'policy', type: 'nominal', sort: ['unaware', 'aware'], scale: POLICIES },
    },
  })
}

function coverageFigure(coverage: readonly Coverage[]): Promise<Markup> {
  const values = coverage.flatMap((point) => {
    const x = point.beta / Math.sqrt(point.dimension)
    const where = `n = ${point.dimension}, |r*| = ${significant(point.reward)}`
    const series = {
      simulated: point.simulated.estimate,
      exact: point.exact,
      printed: point.printed,
      proof: point.corrected,
    }
    return Object.entries(series).map(([curve, probability]) => ({ where, x, curve, probability }))
  })
  return chart('Coverage of theorem 2.2', {
    data: { values },
    facet: { field: 'where', type: 'nominal', title: null, sort: null },
    columns: 2,
    spec: {
      width: 300,
      height: 150,
      mark: { type: 'line', point: true, strokeWidth: 1.5 },
      encoding: {
        x: { field: 'x', type: 'quantitative', title: 'beta / √n' },
        y: { field: 'probability', type: 'quantitative', title: 'coverage' },
        color: { field: 'curve', type: 'nominal', sort: ['simulated', 'exact', 'printed', 'proof'] },
      },
    },
  })
}

function banditFigure({ arms }: Bandit): Promise<Markup> {
  const rows = arms.flatMap(({ arm, reward, estimate, deviation }) => [
    { arm, what: 'true reward', value: reward },
    { arm, what: 'estimate', value: estimate, low: estimate - 2 * deviation, high: estimate + 2 * deviation },
  ])
  const probabilities = arms.flatMap(({ arm, reference, unaware, aware }) =>
    Object.entries({ reference, unaware, aware }).map(([policy, probability]) => ({ arm, policy, probability })),
  )
  return chart('Three arms', {
    hconcat: [
      {
        data: { values: rows },
        width: 240,
        height: 200,
        layer: [
          {
            transform: [{ filter: "datum.what === 'estimate'" }],
            mark: { type: 'rule', color: COLOURS.sigma, strokeWidth: 2 },
            encoding: {
              x: { field: 'arm', type: 'ordinal' },
              y: { field: 'low', type: 'quantitative' },
              y2: { field: 'high' },
            },
          },
          {
            mark: { type: 'point', filled: true, size: 90, opacity: 1 },
            encoding: {
              x: { field: 'arm', type: 'ordinal', title: 'arm' },
              y: { field: 'value', type: 'quantitative', title: 'reward' },
              color: {
                field: 'what',
                type: 'nominal',
                sort: ['true reward', 'estimate'],
                scale: { range: [COLOURS.mean, COLOURS.reference] },
              },
            },
          },
        ],
      },
      {
        data: { values: probabilities },
        width: 240,
        height: 200,
        mark: 'bar',
        encoding: {
          x: { field: 'arm', type: 'ordinal', title: 'arm' },
          xOffset: { field: 'policy', sort: ['reference', 'unaware', 'aware'] },
          y: { field: 'probability', type: 'quantitative', title: 'probability' },
          color: {
            field: 'policy',
            type: 'nominal',
            sort: ['reference', 'unaware', 'aware'],
            scale: { range: [COLOURS.reference, COLOURS.vanilla, COLOURS.sigma] },
          },
        },
      },
    ],
    resolve: { scale: { color: 'independent' } },
  })
}
