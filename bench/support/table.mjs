// The Markdown tables of docs/benchmarks.md and README.md, written between markers from the result files.
import { judgeGoals, percent } from './goals.mjs'
import { processorKind } from './results.mjs'

const UNITS = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
]

/** Three digits are what a spread of some percent supports. */
export function digits(value) {
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function seconds(value) {
  const [unit, name] = UNITS.find(([size]) => value >= size) ?? UNITS.at(-1)
  return `${digits(value / unit)} ${name}`
}

/** null: nothing was answered. */
export function milliseconds(value) {
  return value === null || value === Number.POSITIVE_INFINITY ? '—' : `${digits(1000 * value)} ms`
}

function times({ p20, p50, p80 }) {
  const [unit, name] = UNITS.find(([size]) => p50 >= size) ?? UNITS.at(-1)
  return `${digits(p20 / unit)} **${digits(p50 / unit)}** ${digits(p80 / unit)} ${name}`
}

export function bytes(value) {
  if (value >= 2 ** 30) return `${digits(value / 2 ** 30)} GiB`
  return value >= 2 ** 20 ? `${digits(value / 2 ** 20)} MiB` : `${digits(value / 2 ** 10)} KiB`
}

function ratioText({ median, p20, p80 }) {
  return `**${digits(median)}×** (${digits(p20)}–${digits(p80)})`
}

function goalText(row) {
  return judgeGoals(row)
    .map(({ text, met }) => `${text} ${met ? '✓' : '✗'}`)
    .join(', ')
}

function rate({ tokensPerSecond }) {
  return tokensPerSecond === undefined ? '' : Math.round(tokensPerSecond).toLocaleString('en-GB')
}

function line(cells) {
  return `| ${cells.join(' | ')} |`
}

function memoryText({ ours, peer }) {
  if (ours.peakBytes === undefined) return ''
  return `${bytes(ours.peakBytes)} / ${bytes(peer.peakBytes)}`
}

function jobRow(row) {
  const { ours, peer, ratio, saves = '' } = row
  const limit = ours.ofLimit === undefined ? '' : percent(ours.ofLimit)
  const names = `${ours.name} / ${peer.name}`
  return line([
    names,
    times(ours),
    times(peer),
    ratioText(ratio),
    goalText(row),
    memoryText(row),
    rate(ours),
    limit,
    saves,
  ])
}

const HEADINGS = [
  'ours / peer',
  'ours, p20 **p50** p80',
  'peer, p20 **p50** p80',
  'faster (p20–p80)',
  'goal',
  'peak memory',
  'tokens/s',
  'of the limit',
  'what ours saves',
]

function groupBy(rows, key) {
  const groups = new Map()
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row])
  return groups
}

/** One table a job and kind of processor, with what it ran on. */
export function fullTables(rows) {
  const head = [line(HEADINGS), line(HEADINGS.map(() => '---'))]
  const jobs = groupBy(rows, ({ job }) => job)
  return [...jobs]
    .map(([job, own]) => {
      const tables = [...groupBy(own, processorKind).values()].map((same) =>
        [[...head, ...same.map(jobRow)].join('\n'), stampText(same)].join('\n\n'),
      )
      return [`### ${job}`, ...[sizeText(own[0])].filter(Boolean), ...tables].join('\n\n')
    })
    .join('\n\n')
}

function sizeText({ about = {} }) {
  return Object.entries(about)
    .map(([name, value]) => `${name}: ${value}`)
    .join('; ')
}

function stampText(rows) {
  const [{ date, commit, changed, machine, threads, ours, peer }] = rows
  const versions = Object.entries({ ...peer.versions, ...ours.versions }).map(([name, value]) => `${name} ${value}`)
  const busiest = Math.max(...rows.flatMap((row) => [row.ours.othersBusy, row.peer.othersBusy]))
  const busy = busiest > 0.1 ? ` Other processes kept up to ${busiest.toFixed(1)} cores busy meanwhile.` : ''
  const stand = `commit ${commit.slice(0, 9)}${changed ? ' with changes' : ''}`
  const processor = `${machine.cpu} (${processorKind(rows[0])})`
  return `${[date.slice(0, 10), stand, processor, `${threads} threads`, ...versions].join(', ')}.${busy}`
}

/** The README's: job, ratio and memory alone. */
export function shortTable(rows) {
  const headings = ['job', 'processor', 'ours / peer', 'faster', 'peak memory']
  const head = [line(headings), line(headings.map(() => '---'))]
  const byJob = [...groupBy(rows, ({ job }) => job).values()].flat()
  const body = byJob.map((row) =>
    line([row.job.replace(/^training\//, ''), processorKind(row), row.row, ratioText(row.ratio), memoryText(row)]),
  )
  return [...head, ...body].join('\n')
}

/** Replaces what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; undefined where the markers are missing. */
export function replaceBetween(text, name, content) {
  const [open, close] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`]
  const [start, end] = [text.indexOf(open), text.indexOf(close)]
  if (start < 0 || end < start) return undefined
  return `${text.slice(0, start + open.length)}\n${content}\n${text.slice(end)}`
}
