/** HTML as tagged templates: values are escaped unless they are `Markup` already. */

export class Markup {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text
  }
}

export type Fragment = Markup | string | number | null | undefined | readonly Fragment[]

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}

function render(value: Fragment): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Markup) return value.text
  if (typeof value === 'string') return escapeHtml(value)
  if (typeof value === 'number') return String(value)
  return value.map(render).join('')
}

export function html(strings: TemplateStringsArray, ...values: Fragment[]): Markup {
  return new Markup(strings.reduce((text, part, i) => text + part + (i < values.length ? render(values[i]) : ''), ''))
}

export interface Column<Row> {
  title: string
  /** Numbers are set right-aligned in tabular figures. */
  numeric?: boolean
  cell: (row: Row) => Fragment
}

export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): Markup {
  const alignment = (column: Column<Row>) => (column.numeric ? html` class="number"` : '')
  return html`<div class="scroll"><table><thead><tr>${columns.map((c) => html`<th${alignment(c)}>${c.title}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${columns.map((c) => html`<td${alignment(c)}>${c.cell(row)}</td>`)}</tr>\n`)}</tbody></table></div>`
}
