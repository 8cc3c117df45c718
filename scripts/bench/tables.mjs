// Writes the tables and curves from bench/results into the documents that have markers for them.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drawCurves } from '../../bench/support/curves.mjs'
import { latestRows, readRows } from '../../bench/support/results.mjs'
import { serviceTables } from '../../bench/support/service-table.mjs'
import { fullTables, replaceBetween, shortTable } from '../../bench/support/table.mjs'
import { root } from '../setup/folders.mjs'

const NONE = 'No results yet: `npm run bench`.'

/** The README shows whole jobs against what people run today; each operation is in docs/benchmarks.md. */
function forReadme(rows) {
  return rows.filter(({ job, ours, peer }) => job.startsWith('training/') && !peer.name.startsWith('ours') && ours.name)
}

export async function writeTables(say) {
  const rows = latestRows(readRows())
  const compared = rows.filter(({ ratio }) => ratio)
  const points = rows.filter(({ curve }) => curve)
  const contents = {
    'docs/benchmarks.md': { jobs: tablesOf(compared, 'training/'), ops: tablesOf(compared, 'ops/') },
    'docs/serving.md': { service: serviceTables(rows.filter(({ job }) => job === 'service/load')) || NONE },
    'README.md': { summary: shortTable(forReadme(compared)) },
  }
  for (const [file, parts] of Object.entries(contents)) {
    for (const [name, content] of Object.entries(parts)) writePart(file, name, content, say)
  }
  for (const file of await drawCurves(points, join(root, 'docs', 'images'))) say(`wrote ${file}`)
}

function tablesOf(rows, prefix) {
  const own = rows.filter(({ job }) => job.startsWith(prefix))
  return own.length > 0 ? fullTables(own) : NONE
}

function writePart(file, name, content, say) {
  const path = join(root, file)
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const replaced = replaceBetween(text, name, content)
  if (replaced === undefined) say(`${file} has no markers for ${name}: left as it is`)
  else if (replaced !== text) writeFileSync(path, replaced)
}
