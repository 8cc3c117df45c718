/**
 * RewardBench's rows as the hub holds them: allenai/reward-bench (split `filtered`; prompt, chosen, rejected, subset, id) and
 * allenai/pref-test-sets (one split a subset). No row is dropped: the leaderboard counts identical sides as a tie, which is wrong.
 */
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Conversation } from '../../data/conversation.js'
import type { HubOptions } from '../../data/hub.js'
import { missingColumn } from '../../data/parquet.js'
import { sideOf } from '../../data/preferences.js'
import { type Row, readRows, rowPlace } from '../../data/rows.js'
import { type DataSource, expandHome, resolveSource } from '../../data/sources.js'
import { PrudentError } from '../../errors.js'
import { isKnownSubset, PRIOR_SUBSETS, SECTIONS } from '../reward-bench.js'

export interface BenchRow {
  subset: string
  id: number | string
  /** The prompt's text, by which pairs belong together; of several turns all of them. */
  prompt: string
  chosen: Conversation
  rejected: Conversation
  /** `file:row`, as errors name it. */
  place: string
}

export interface BenchData {
  rows: BenchRow[]
  /** What the user should know: subsets that are unknown, missing or of another size. */
  warnings: string[]
  /** Commit of a hub data set; null for local files. */
  revision: string | null
}

const REQUIRED = ['prompt', 'chosen', 'rejected'] as const

/** @throws E_NOT_FOUND for a missing file, split or column; E_DATA for a row that cannot be scored, or no usable row at all */
export async function readBenchmark(source: DataSource, options: HubOptions = {}): Promise<BenchData> {
  const { files, revision, note } = await filesOf(source, options)
  const rows: BenchRow[] = []
  for await (const row of readRows(files)) rows.push(benchRow(row, null, rows.length))
  const warnings = [...note, ...checkSubsets(rows, source.path)]
  return { rows, warnings, revision }
}

/** A folder or hub id has a split a subset; a single file a `subset` column, or the subset in its name. */
export async function readPriorSets(source: DataSource, options: HubOptions = {}): Promise<BenchData> {
  const info = await stat(expandHome(source.path)).catch(() => null)
  const data = info?.isFile()
    ? await priorFiles([expandHome(source.path)], source.path, null)
    : await priorSplits(source, options)
  if (data.rows.length === 0) throw noRows(source.path)
  return data
}

async function filesOf(source: DataSource, options: HubOptions) {
  const wanted = { ...source, split: source.split ?? 'filtered' }
  try {
    return { ...(await resolveSource(wanted, options)), note: [] as string[] }
  } catch (error) {
    const noSuchSplit = error instanceof PrudentError && error.argument === 'split'
    if (!noSuchSplit || source.split !== undefined) throw error
    // A folder of one's own need not be named as the hub's.
    const found = await resolveSource(source, options).catch(() => {
      throw error
    })
    const names = found.files.map((file) => basename(file)).join(', ')
    return { ...found, note: [`${source.path}: no split "filtered"; ${names} is used`] }
  }
}

/** Files that say themselves which subset a row is of, in a `subset` column or in their name. */
async function priorFiles(files: readonly string[], path: string, revision: string | null): Promise<BenchData> {
  const rows: BenchRow[] = []
  const foreign = new Set<string>()
  for (const file of files) {
    const named = PRIOR_SUBSETS.find((subset) => basename(file).includes(subset)) ?? null
    for await (const row of readRows([file])) {
      const bench = benchRow(row, bySubsetColumn(row) ?? named, rows.length)
      if ((PRIOR_SUBSETS as readonly string[]).includes(bench.subset)) rows.push(bench)
      else foreign.add(bench.subset)
    }
  }
  const warnings = foreign.size === 0 ? [] : [`${path}: ${list(foreign)} is no prior set and is left out`]
  return { rows, warnings: [...warnings, ...missingPrior(rows, path)], revision }
}

/** The hub's files have a `subset` column of their own with other values: there the split decides. */
function bySubsetColumn(row: Row): string | null {
  const value = row.values.subset
  return typeof value === 'string' && (PRIOR_SUBSETS as readonly string[]).includes(value) ? value : null
}

async function priorSplits(source: DataSource, options: HubOptions): Promise<BenchData> {
  const rows: BenchRow[] = []
  let revision: string | null = null
  for (const subset of PRIOR_SUBSETS) {
    const found = await resolveSource({ ...source, split: subset }, options).catch((error: unknown) => {
      if (error instanceof PrudentError && error.argument === 'split') return null
      throw error
    })
    if (found === null) continue
    revision = found.revision
    for await (const row of readRows(found.files)) rows.push(benchRow(row, subset, rows.length))
  }
  if (rows.length > 0) return { rows, warnings: missingPrior(rows, source.path), revision }
  // A folder of one's own need not have a split a subset: then its split `test` is read, as a file is.
  const found = await resolveSource({ ...source, split: source.split ?? 'test' }, options)
  return priorFiles(found.files, source.path, found.revision)
}

function missingPrior(rows: readonly BenchRow[], path: string): string[] {
  const there = new Set(rows.map((row) => row.subset))
  const missing = PRIOR_SUBSETS.filter((subset) => !there.has(subset))
  return missing.length === 0 || rows.length === 0 ? [] : [`${path}: no rows of the prior sets ${missing.join(', ')}`]
}

function benchRow(row: Row, subset: string | null, index: number): BenchRow {
  const { values } = row
  const place = rowPlace(row)
  const needed = subset === null ? [...REQUIRED, 'subset'] : REQUIRED
  const missing = needed.find((column) => !Object.hasOwn(values, column))
  if (missing !== undefined) throw missingColumn(place, missing, Object.keys(values))
  const empty = needed.find((column) => values[column] === null || values[column] === undefined)
  if (empty !== undefined) throw new PrudentError('E_DATA', `${place}: ${empty}: expected a value, received null`)
  const name = subset ?? values.subset
  if (typeof name !== 'string') {
    throw new PrudentError('E_DATA', `${place}: subset: expected text, received ${typeof name}`, { argument: 'subset' })
  }
  const { prompt, id } = values
  return {
    subset: name,
    id: typeof id === 'number' || typeof id === 'string' ? id : index,
    prompt: typeof prompt === 'string' ? prompt : JSON.stringify(prompt),
    chosen: sideOf(values.chosen, prompt, `${place}: chosen`),
    rejected: sideOf(values.rejected, prompt, `${place}: rejected`),
    place,
  }
}

function checkSubsets(rows: readonly BenchRow[], path: string): string[] {
  if (rows.length === 0) throw noRows(path)
  const counts = new Map<string, number>()
  for (const { subset } of rows) counts.set(subset, (counts.get(subset) ?? 0) + 1)
  const unknown = [...counts.keys()].filter((subset) => !isKnownSubset(subset))
  if (unknown.length === counts.size) {
    const expected = 'subsets of RewardBench or the prior sets'
    throw new PrudentError('E_DATA', `${path}: expected ${expected}, received only ${list(unknown)}`, { expected })
  }
  const all = Object.values(SECTIONS).flatMap((section) => Object.keys(section))
  const missing = all.filter((subset) => !counts.has(subset))
  // math-prm weighs 984 and has 447 rows.
  const sizes: Record<string, number> = { ...Object.assign({}, ...Object.values(SECTIONS)), 'math-prm': 447 }
  const other = [...counts].filter(([subset, count]) => subset in sizes && sizes[subset] !== count)
  const sized = other.map(([subset, count]) => `${subset} ${count} (${sizes[subset]})`)
  return [
    ...(unknown.length > 0 ? [`${path}: unknown subset ${list(unknown)}: scored, in no section`] : []),
    ...(missing.length > 0 ? [`${path}: no rows of ${list(missing)}: their sections go without`] : []),
    ...(sized.length > 0 ? [`${path}: rows differ from RewardBench's (in brackets): ${sized.join(', ')}`] : []),
  ]
}

function noRows(path: string): PrudentError {
  return new PrudentError('E_DATA', `${path}: no rows`, { argument: '--data', expected: 'at least one row' })
}

const list = (names: Iterable<string>): string => [...names].map((name) => `"${name}"`).join(', ')
