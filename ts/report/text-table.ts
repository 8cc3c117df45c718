/** Tables as Markdown whose columns also line up in a terminal. */

export interface TextColumn<Row> {
  title: string
  /** Set right-aligned. */
  numeric?: boolean
  cell: (row: Row) => string
}

export function textTable<Row>(columns: readonly TextColumn<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) =>
    columns.map((column) => column.cell(row).replaceAll('|', '\\|').replaceAll('\n', ' ')),
  )
  const widths = columns.map((column, i) =>
    Math.max(3, column.title.length, ...cells.map((row) => row[i]?.length ?? 0)),
  )
  const pad = (text: string, i: number) =>
    columns[i]?.numeric ? text.padStart(widths[i] as number) : text.padEnd(widths[i] as number)
  const line = (values: readonly string[]) => `| ${values.map(pad).join(' | ')} |`
  const rule = widths.map((width, i) => (columns[i]?.numeric ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)))
  return `${[line(columns.map((column) => column.title)), `| ${rule.join(' | ')} |`, ...cells.map(line)].join('\n')}\n`
}
