/** What became of the rows of a data set: nothing is left out silently. */
export interface DataReport {
  /** Rows read. */
  rows: number
  /** Rows that training or evaluation uses. */
  used: number
  /** A needed column was null or missing in the row. */
  null: number
  /** A text was empty or white space, or a conversation had no messages or ended in an empty one. */
  empty: number
  /** Chosen and rejected were the same, as text or after tokenisation and truncation. */
  identical: number
  /** Longer than the limit and cut on the left. */
  truncated: number
  /** Longer than the limit and left out. */
  overLong: number
  /** The first rows of each kind that are not used, `file:row`, at most five. */
  examples: Record<Dropped, string[]>
}

export type Dropped = 'null' | 'empty' | 'identical' | 'overLong'

const EXAMPLES = 5

export function emptyReport(): DataReport {
  const examples = { null: [], empty: [], identical: [], overLong: [] }
  return { rows: 0, used: 0, null: 0, empty: 0, identical: 0, truncated: 0, overLong: 0, examples }
}

export function countDropped(report: DataReport, kind: Dropped, place: string): void {
  report[kind]++
  if (report.examples[kind].length < EXAMPLES) report.examples[kind].push(place)
}

/** One line for people: `5000 rows: 4987 used, 8 identical, 5 empty (data.jsonl:17, …); 12 truncated`. */
export function describeReport(report: DataReport): string {
  const parts = (['null', 'empty', 'identical', 'overLong'] as const)
    .filter((kind) => report[kind] > 0)
    .map((kind) => `${report[kind]} ${kind === 'overLong' ? 'over-long' : kind} (${placesOf(report, kind)})`)
  const truncated = report.truncated > 0 ? `; ${report.truncated} truncated` : ''
  return `${report.rows} rows: ${[`${report.used} used`, ...parts].join(', ')}${truncated}`
}

function placesOf(report: DataReport, kind: Dropped): string {
  const places = report.examples[kind]
  return places.join(', ') + (report[kind] > places.length ? ', …' : '')
}
