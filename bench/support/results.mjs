// Result files: bench/results/<date>-<job>.jsonl, one comparison a line.
import { appendFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/setup/folders.mjs'

export const RESULTS = join(root, 'bench', 'results')

export function resultFile(job, folder = RESULTS, now = new Date()) {
  return join(folder, `${now.toISOString().slice(0, 10)}-${job.replaceAll('/', '-')}.jsonl`)
}

/** Numbers with more digits than a clock has only make files hard to read. */
function round(_key, value) {
  if (typeof value !== 'number' || Number.isInteger(value) || !Number.isFinite(value)) return value
  return Number(value.toPrecision(6))
}

export function appendRows(file, rows) {
  mkdirSync(join(file, '..'), { recursive: true })
  for (const row of rows) appendFileSync(file, `${JSON.stringify(row, round)}\n`)
}

export function readRows(folder = RESULTS) {
  let files = []
  try {
    files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'))
  } catch {
    return []
  }
  return files.sort().flatMap((name) =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line)),
  )
}

/** What decides how fast matrix products are: figures of different kinds stand beside each other, the newer replaces none. */
export function processorKind({ machine: { features = [], cpu } }) {
  if (features.includes('amx_bf16')) return 'AMX'
  if (features.includes('avx512_bf16')) return 'AVX-512 with bf16'
  if (features.includes('avx512f')) return 'AVX-512'
  return features.includes('avx2') ? 'AVX2' : cpu
}

/** The latest row of each comparison on each kind of processor, those of full size only unless `quick`. */
export function latestRows(rows, { quick = false } = {}) {
  const latest = new Map()
  for (const row of rows) {
    if (Boolean(row.quick) !== quick) continue
    const key = `${row.job}\0${row.row}\0${processorKind(row)}`
    const known = latest.get(key)
    if (!known || known.date <= row.date) latest.set(key, row)
  }
  return [...latest.values()]
}
