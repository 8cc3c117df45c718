/** The table "ours beside the paper's". */
import { type Column, html, type Markup, table } from '../markup.js'
import { section } from '../page.js'
import type { PaperRow } from '../paper/rows.js'

const COLUMNS: Column<PaperRow>[] = [
  { title: 'in the paper', cell: (row) => html`<b>${row.item}</b>` },
  { title: 'what', cell: (row) => row.quantity },
  { title: 'the paper', cell: (row) => row.paper },
  { title: 'here', cell: (row) => row.ours ?? html`<span class="soft">not made here</span>` },
]

export function paperSection(rows: readonly PaperRow[], scale: string): Markup {
  const commands = [...new Map(rows.map((row) => [row.command, row.item])).keys()]
  const itemsOf = (command: string) =>
    [...new Set(rows.filter((row) => row.command === command).map((row) => row.item))].join(', ')
  return section(
    'paper',
    'Every table and figure of the paper',
    html`<p>${scale}</p>
${table(COLUMNS, rows)}
${table(
  [
    { title: 'made by', cell: (command: string) => html`<code>${command}</code>` },
    { title: 'items', cell: itemsOf },
  ],
  commands,
)}`,
  )
}
