/** The report's tables as Markdown, for places where a page cannot go: an issue, a commit, a terminal. */
import type { Summary } from '../study/summary.js'
import { armLabels } from './arms.js'
import { interval, percent, significant } from './format.js'
import { itemsByCommand, type PaperRow } from './paper/rows.js'
import { scaleOf } from './study-report.js'

type Cell = string | number

/** Columns that hold numbers are right-aligned. */
export function markdownTable(
  titles: readonly string[],
  rows: readonly (readonly Cell[])[],
  numeric: readonly number[] = [],
): string {
  const line = (cells: readonly Cell[]) => `| ${cells.map((cell) => escaped(String(cell))).join(' | ')} |`
  const rule = titles.map((_, i) => (numeric.includes(i) ? '---:' : '---'))
  return `${[line(titles), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n')}\n`
}

function escaped(text: string): string {
  return text.replace(/\r?\n/g, ' ').replace(/[\\|*_<>`[\]]/g, (character) => `\\${character}`)
}

export function markdownReport(rows: readonly PaperRow[], summary?: Summary): string {
  const parts = ['# Beside the paper', ...(summary ? studyPart(summary) : []), ...paperPart(rows)]
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`
}

function studyPart(summary: Summary): string[] {
  const labels = armLabels(summary.arms)
  const judged = summary.figures.judged.flatMap(({ judge, reference, arms }) => {
    const name = judge === 'truth' ? 'true reward' : 'judge model'
    const numbers = (entry: { mean: number; variance: number }) => [
      significant(entry.mean),
      significant(entry.variance),
    ]
    return [
      [name, 'reference policy', '', reference.means.length, ...numbers(reference), ''],
      ...arms.map((arm) => {
        const label = labels.get(arm.arm)
        const risk = percent(arm.riskBelowReference)
        return [name, label?.method ?? arm.arm, label?.recipe ?? '', arm.means.length, ...numbers(arm), risk]
      }),
    ]
  })
  const verdicts = summary.verdicts.list.map((verdict) => [
    `${verdict.primary ? 'primary: ' : ''}${verdict.id}`,
    verdict.outcome,
    interval(verdict.varianceRatio),
    interval(verdict.riskDifference),
    interval(verdict.meanDifference),
    interval(verdict.klDifference, (x) => percent(x)),
    significant(verdict.pitmanMorgan.p, 2),
  ])
  return [
    `**${summary.headline.outcome}**: ${escaped(summary.headline.sentence)}`,
    escaped(scaleOf(summary)),
    '## Where the policies end',
    markdownTable(
      ['judged by', 'method', 'heads', 'policies', 'mean', 'variance', 'below the reference'],
      judged,
      [3, 4, 5, 6],
    ),
    '## Verdicts',
    markdownTable(
      [
        'comparison',
        'verdict',
        'variance ratio',
        'risk difference',
        'mean difference',
        'KL difference',
        'Pitman–Morgan p',
      ],
      verdicts,
      [2, 3, 4, 5, 6],
    ),
  ]
}

function paperPart(rows: readonly PaperRow[]): string[] {
  const commands = itemsByCommand(rows).map(({ command, items }) => `# ${items.join(', ')}\n${command}`)
  return [
    '## Every table and figure of the paper',
    markdownTable(
      ['in the paper', 'what', 'the paper', 'here'],
      rows.map((row) => [row.item, row.quantity, row.paper, row.ours ?? 'not made here']),
    ),
    'Made by',
    `\`\`\`\n${commands.join('\n')}\n\`\`\``,
  ]
}
