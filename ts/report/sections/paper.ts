/** The table "ours beside the paper's". */
import { type Column, html, type Markup, table } from '../markup.js'
import { section } from '../page.js'
import { type CommandItems, itemsByCommand, type PaperRow } from '../paper/rows.js'

const COLUMNS: Column<PaperRow>[] = [
  { title: 'in the paper', cell: (row) => html`<b>${row.item}</b>` },
  { title: 'what', cell: (row) => row.quantity },
  { title: 'the paper', cell: (row) => row.paper },
  { title: 'here', cell: (row) => row.ours ?? html`<span class="soft">not made here</span>` },
]

export function paperSection(rows: readonly PaperRow[], scale: string): Markup {
  return section(
    'paper',
    'Every table and figure of the paper',
    html`<p>${scale}</p>
${table(COLUMNS, rows)}
${table(
  [
    { title: 'made by', cell: ({ command }: CommandItems) => html`<code>${command}</code>` },
    { title: 'items', cell: ({ items }) => items.join(', ') },
  ],
  itemsByCommand(rows),
)}`,
  )
}
