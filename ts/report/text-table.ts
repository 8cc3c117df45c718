/** Tables as Markdown whose columns also line up in a terminal. */

export interface TextColumn<Row> {
  title: string
  /** Set right-aligned. */
  numeric?: boolean
  cell: (row: Row) => string
}

export function textTable<Row>(columns: readonly TextColumn<Row>[], rows: readonly Row[]): string {
  // A title like |mean difference| would be three columns.
  const escaped = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
  const titles = columns.map((column) => escaped(column.title))
  const cells = rows.map((row) => columns.map((column) => escaped(column.cell(row))))
  const widths = titles.map((title, i) => Math.max(3, title.length, ...cells.map((row) => row[i]?.length ?? 0)))
  const pad = (text: string, i: number) =>
    columns[i]?.numeric ? text.padStart(widths[i] as number) : text.padEnd(widths[i] as number)
  const line = (values: readonly string[]) => `| ${values.map(pad).join(' | ')} |`
  const rule = widths.map((width, i) => (columns[i]?.numeric ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)))
  return `${[line(titles), `| ${rule.join(' | ')} |`, ...cells.map(line)].join('\n')}\n`
}
