// The tables of docs/serving.md from the rows of service/load.
import { atEqualP99 } from './http-load.mjs'
import { bytes, digits, milliseconds } from './table.mjs'

function line(cells) {
  return `| ${cells.join(' | ')} |`
}

function table(headings, rows) {
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)].join('\n')
}

const cells = ({ requestsPerSecond, p50, p99 }) => [digits(requestsPerSecond), milliseconds(p50), milliseconds(p99)]

/** What ours answers, at whatever load, without a longer p99 than the peer has at this one. */
function within(own, other) {
  if (!(other.requestsPerSecond > 0)) return '—'
  const { ratio } = atEqualP99(own.points, [other])
  return ratio > 0 ? `${digits(ratio)}×` : '—'
}

function curves(own, peer) {
  const headings = [
    'connections',
    'ours: requests/s',
    'p50',
    'p99',
    'FastAPI + transformers: requests/s',
    'p50',
    'p99',
    'ours within that p99',
  ]
  const rows = own.points.map((point, at) => {
    const other = peer?.points[at]
    return [point.connections, ...cells(point), ...(other ? [...cells(other), within(own, other)] : ['', '', '', ''])]
  })
  const memory = peer
    ? `Peak memory: ${bytes(own.peakBytes)} and ${bytes(peer.peakBytes)}.`
    : `Peak memory: ${bytes(own.peakBytes)}.`
  return `${table(headings, rows)}\n\n${memory}`
}

function comparison({ equal: { ours, peer, ratio }, goal }) {
  const where = `The peer answers most with ${peer.connections} connections: ${digits(peer.requestsPerSecond)} requests/s at a p99 of ${milliseconds(peer.p99)}.`
  if (!ours) return `${where} Ours has a longer p99 at every number of connections.`
  const own = `Within that p99 ours answers ${digits(ours.requestsPerSecond)} requests/s (${ours.connections} connections)`
  return `${where} ${own}: **${digits(ratio)}×** (goal ≥ ${goal.ratio}× ${ratio >= goal.ratio ? '✓' : '✗'}).`
}

function limits(rows) {
  const headings = ['one forward takes', 'connections', 'requests/s', 'p50', 'p99', 'peak memory']
  return table(
    headings,
    rows.map(({ row, points: [point], peakBytes }) => [
      row.replace('limit: ', ''),
      point.connections,
      ...cells(point),
      bytes(peakBytes),
    ]),
  )
}

/** Empty without rows. */
export function serviceTables(rows) {
  const named = (name) => rows.find(({ row }) => row === name)
  const [own, peer, ratio] = ['ours', 'transformers', 'ours / transformers'].map(named)
  const limited = rows.filter(({ row }) => row.startsWith('limit: '))
  const [first] = rows
  if (!first) return ''
  const about = Object.entries(first.about).map(([name, value]) => `${name}: ${value}`)
  const busiest = Math.max(...rows.flatMap(({ points = [] }) => points.map(({ othersBusy }) => othersBusy)))
  const busy = busiest > 0.1 ? ` Other processes kept up to ${busiest.toFixed(1)} cores busy meanwhile.` : ''
  const stand = `commit ${first.commit.slice(0, 9)}${first.changed ? ' with changes' : ''}`
  return [
    `${[...about, first.date.slice(0, 10), stand, first.machine.cpu, `${first.threads} threads, shared by server and load`].join('; ')}.${busy}`,
    ...(own ? [curves(own, peer)] : []),
    ...(ratio ? [comparison(ratio)] : []),
    ...(limited.length > 0 ? [limits(limited)] : []),
  ].join('\n\n')
}
