/** RewardBench results as tables (Markdown and terminal) and as a page with figure 9. */
import type { BenchEntry, BenchResults } from '../evaluation/benchmark/results.js'
import { SECTIONS, sectionNames, sectionOf } from '../evaluation/reward-bench.js'
import { accuraciesChart } from './figures/heads.js'
import { percent } from './format.js'
import { html, table } from './markup.js'
import { figure, page } from './page.js'
import { PAPER } from './paper-numbers.js'
import { textTable } from './text-table.js'

export interface BenchReport {
  model: string
  counts: 'fixed' | 'legacy'
  results: BenchResults
  warnings: readonly string[]
}

interface TableRow {
  name: string
  overall: number
  sections: Readonly<Record<string, number>>
}

/** Ours and, below, table 1 of the paper. */
function sectionRows({ results }: BenchReport): TableRow[] {
  const label = (entry: BenchEntry) => (entry.kind === 'head' ? `head ${entry.name}` : entry.name)
  const ours = results.entries.map((entry) => ({ ...entry, name: label(entry) }))
  const paper = PAPER.table1.map(({ model, overall, sections }) => ({
    name: `paper: ${model}`,
    overall: overall / 100,
    sections: Object.fromEntries(sectionNames().map((section, i) => [section, (sections[i] as number) / 100])),
  }))
  return [...ours, ...paper]
}

const share = (value: number | undefined): string => (value === undefined ? '' : (100 * value).toFixed(1))

const sectionColumns = [
  { title: 'score', cell: (row: TableRow) => row.name },
  { title: 'overall', numeric: true, cell: (row: TableRow) => share(row.overall) },
  ...sectionNames().map((section) => ({
    title: section,
    numeric: true,
    cell: (row: TableRow) => share(row.sections[section]),
  })),
]

/** Subsets in the order of the sections; those of no section last. */
function subsetNames({ pairs }: BenchResults): string[] {
  const order = Object.values(SECTIONS).flatMap((section) => Object.keys(section))
  const known = [...order, ...Object.keys(pairs).filter((subset) => !order.includes(subset))]
  return known.filter((subset) => subset in pairs)
}

const knownSection = (subset: string): string => {
  try {
    return sectionOf(subset)
  } catch {
    return 'none'
  }
}

function subsetColumns(results: BenchResults) {
  const shown = results.entries.filter((entry) => entry.kind !== 'head' && !entry.name.endsWith('(z)'))
  const heads = results.entries.filter((entry) => entry.kind === 'head').map((entry) => entry.subsets)
  const extreme = (pick: (...values: number[]) => number) => (subset: string) =>
    share(pick(...heads.map((accuracies) => accuracies[subset] as number)))
  return [
    { title: 'subset', cell: (subset: string) => subset },
    { title: 'section', cell: knownSection },
    { title: 'pairs', numeric: true, cell: (subset: string) => String(results.pairs[subset]) },
    ...shown.map((entry) => ({
      title: entry.name,
      numeric: true,
      cell: (subset: string) => share(entry.subsets[subset]),
    })),
    { title: 'lowest head', numeric: true, cell: extreme(Math.min) },
    { title: 'highest head', numeric: true, cell: extreme(Math.max) },
  ]
}

const notes = ({ counts, warnings }: BenchReport): string[] => [
  `Accuracy in %, chosen strictly above rejected (a tie is wrong). Sections weigh subsets by RewardBench's counts (${counts}); overall weighs the four sections 2 and Prior Sets 1, and leaves out what the data lacks.`,
  ...warnings.map((warning) => `Note: ${warning}`),
]

export function benchMarkdown(report: BenchReport): string {
  const { model, results } = report
  return [
    `# RewardBench: ${model}\n`,
    textTable(sectionColumns, sectionRows(report)),
    textTable(subsetColumns(results), subsetNames(results)),
    `${notes(report).join('\n\n')}\n`,
  ].join('\n')
}

export async function benchHtml(report: BenchReport): Promise<string> {
  const { model, results } = report
  const single = results.entries.find((entry) => entry.kind === 'single')
  const heads = results.entries.filter((entry) => entry.kind === 'head')
  const rows = sectionNames()
    .filter((section) => section in (heads[0]?.sections ?? {}))
    .map((section) => ({
      section,
      heads: heads.map((head) => head.sections[section] as number),
      ...(single && { single: single.sections[section] as number }),
    }))
  const drawing = await accuraciesChart('Accuracy of each head by section', rows)
  const caption = `Figure 9: accuracy by section of each head${single ? ' (blue) and of the single reward model (orange)' : ''}.`
  return page(
    `RewardBench: ${model}`,
    html`<h1>RewardBench: ${model}</h1>
<p>Mean of heads: <strong>${percent(results.entries[0]?.overall ?? Number.NaN)}</strong> overall.</p>
${table(sectionColumns, sectionRows(report))}
${figure(drawing, caption)}
<h2>Subsets</h2>
${table(subsetColumns(results), subsetNames(results))}
${notes(report).map((line) => html`<p class="soft">${line}</p>`)}`,
  )
}
