/** The report of `prudent judge`: figure 7 (or 12) of the paper for policies that exist. */
import type { JudgeSummary } from '../study/judge/summary.js'
import { COLOURS, GROUP_COLOURS } from './chart.js'
import { distributionFigure } from './figures/judged.js'
import { interval, percent, significant } from './format.js'
import { type Column, html, type Markup, table } from './markup.js'
import { figure, page, section } from './page.js'

const REFERENCE = 'reference policy'

export async function judgeReport(summary: JudgeSummary): Promise<string> {
  return page(
    `${summary.name}: policies judged`,
    html`<header><p class="soft">prudent · judge “${summary.name}”</p><h1>Where the policies end</h1>
<p>Judge <code>${summary.judge.model}</code>; ${summary.prompts.responses} responses a policy to prompts of <code>${summary.prompts.source}</code>; seed ${summary.seed}.</p></header>
${await judgeSections(summary)}
<section><p>Every number is in <code>summary.json</code> beside this page. Made again by</p>
<pre>npx prudent judge --config config.yaml --output ANOTHER-FOLDER</pre></section>`,
  )
}

export async function judgeSections(summary: JudgeSummary): Promise<Markup> {
  const names = summary.groups.map((group) => group.name)
  const scale = {
    domain: [REFERENCE, ...names],
    range: [COLOURS.reference, ...names.map((_, i) => GROUP_COLOURS[i % GROUP_COLOURS.length] as string)],
  }
  const values = [
    ...summary.reference.means.map((value) => ({ recipe: '', method: REFERENCE, value })),
    ...summary.groups.flatMap((group) =>
      group.policies.map(({ mean }) => ({ recipe: '', method: group.name, value: mean })),
    ),
  ]
  const drawing = await distributionFigure(values, scale, 'judge’s score')
  return section(
    'judged',
    'Judged policies',
    html`${figure(drawing, 'Figures 7 and 12: each tick is one policy’s mean over its responses; the reference is sampled as often.')}
${table(GROUP_COLUMNS, [referenceRow(summary), ...summary.groups])}
${table(COMPARISON_COLUMNS, summary.comparisons)}
<p class="soft">Treatment against baseline, over the heads that both have; intervals at ${percent(summary.level, 0)} by bootstrap over heads. Levene’s test takes all policies as independent, as in the paper.</p>`,
  )
}

type GroupRow = Pick<JudgeSummary['groups'][number], 'name' | 'mean' | 'variance'> & {
  policies: readonly unknown[]
  riskBelowReference?: number
  finalKl?: { mean: number; std: number }
}

const referenceRow = ({ reference }: JudgeSummary): GroupRow => ({
  name: REFERENCE,
  policies: reference.means,
  mean: reference.mean,
  variance: reference.variance,
})

const GROUP_COLUMNS: Column<GroupRow>[] = [
  { title: 'policies of', cell: (row) => row.name },
  { title: 'number', numeric: true, cell: (row) => row.policies.length },
  { title: 'mean', numeric: true, cell: (row) => significant(row.mean) },
  { title: 'variance', numeric: true, cell: (row) => significant(row.variance) },
  {
    title: 'below the reference',
    numeric: true,
    cell: (row) => (row.riskBelowReference === undefined ? '' : percent(row.riskBelowReference)),
  },
  {
    title: 'final KL',
    numeric: true,
    cell: (row) => (row.finalKl ? `${significant(row.finalKl.mean)} ± ${significant(row.finalKl.std)}` : ''),
  },
]

const COMPARISON_COLUMNS: Column<JudgeSummary['comparisons'][number]>[] = [
  { title: 'comparison', cell: (row) => `${row.treatment} against ${row.baseline}` },
  { title: 'heads', numeric: true, cell: (row) => row.clusters },
  { title: 'variance ratio', numeric: true, cell: (row) => interval(row.varianceRatio) },
  { title: 'Pitman–Morgan p', numeric: true, cell: (row) => significant(row.pitmanMorgan.p, 2) },
  { title: 'risk difference', numeric: true, cell: (row) => interval(row.riskDifference) },
  { title: 'mean difference', numeric: true, cell: (row) => interval(row.meanDifference) },
  {
    title: 'KL difference',
    numeric: true,
    cell: (row) => (row.klDifference ? interval(row.klDifference, (x) => percent(x)) : ''),
  },
  { title: 'Levene p (as in the paper)', numeric: true, cell: (row) => significant(row.asInPaper.levene.p, 2) },
]
