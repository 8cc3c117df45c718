import { readdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join, relative, sep } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { PrudentError } from '../errors.js'
import { type HubOptions, listSnapshot, openSnapshot, type SnapshotListing } from './hub.js'
import { isPattern, matchesAny } from './patterns.js'
import { isDataFile, type Row, readRows } from './rows.js'
import { isObject } from './tokenizer-files.js'

/** Where rows come from: a local file or folder, or a data set of the hub (`owner/name`). */
export interface DataSource {
  path: string
  /** Branch, tag or commit of a hub id. */
  revision?: string | undefined
  /** Named part of the data set; taken from README.md's `configs` or from file names. */
  split?: string | undefined
  /** Named configuration of the data set, where it has several. */
  subset?: string | undefined
  /** File patterns below the folder; they replace `split` and `subset`. */
  files?: string[] | undefined
  /** Rows to take from the start. */
  limit?: number | undefined
}

export interface ResolvedSource {
  files: string[]
  /** Commit of a hub data set; null for local files. */
  revision: string | null
}

/** Repositories that are older than owners; the hub sends their names on to where they have moved. */
const OWNERLESS = /^((distil)?gpt2|gpt2-(medium|large|xl)|imdb)$/

/** Hub ids look like `owner/name`; anything that starts like a path or ends like a data file is local. */
export function isHubId(path: string): boolean {
  if (OWNERLESS.test(path)) return true
  return /^[\w.-]+\/[\w.-]+$/.test(path) && !/^[.~]/.test(path) && !path.includes('..') && !isDataFile(path)
}

export async function pathExists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null
}

export function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path
}

/** What an error adds to a path that is not there: where it was looked for. */
export function lookedForIn(path: string): string {
  return isAbsolute(path) || path.startsWith('~') ? '' : ` in ${process.cwd()}`
}

/** The data files of a source; hub files are downloaded into the cache first. */
export async function resolveSource(source: DataSource, options: HubOptions = {}): Promise<ResolvedSource> {
  const local = expandHome(source.path)
  const info = await stat(local).catch(() => null)
  if (info?.isFile()) return { files: [local], revision: null }
  if (info?.isDirectory()) {
    const names = (await walk(local)).sort()
    const readme = names.includes('README.md') ? await readText(join(local, 'README.md')) : ''
    return { files: selectFiles(names, readme, source).map((name) => join(local, name)), revision: null }
  }
  if (!isHubId(source.path)) {
    throw new PrudentError('E_NOT_FOUND', `${source.path}: no such file or folder${lookedForIn(source.path)}`, {
      argument: 'path',
      received: source.path,
    })
  }
  const repository = { type: 'dataset' as const, name: source.path }
  const listing = await listSnapshot(repository, { ...options, revision: source.revision })
  const names = await selectedNames(listing, source, options)
  const folder = await openSnapshot(listing, names, options)
  return { files: names.map((name) => join(folder, name)), revision: listing.commit }
}

/** The files that a source means of a repository, whose README.md is fetched for it. */
export async function selectedNames(
  listing: SnapshotListing,
  source: DataSource,
  options: HubOptions,
): Promise<string[]> {
  const there = listing.files.includes('README.md')
  const readme = there ? await readText(join(await openSnapshot(listing, ['README.md'], options), 'README.md')) : ''
  return selectFiles(listing.files, readme, source)
}

/** Rows of a source, at most `limit`; `columns` as in readRows. */
export async function* readSource(
  source: DataSource,
  columns?: readonly string[],
  options: HubOptions = {},
): AsyncGenerator<Row> {
  const { files } = await resolveSource(source, options)
  const limit = source.limit ?? Number.POSITIVE_INFINITY
  let taken = 0
  if (taken >= limit) return
  for await (const row of readRows(files, columns)) {
    yield row
    if (++taken >= limit) return
  }
}

async function walk(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((name) => !name.split('/').some((part) => part.startsWith('.')))
}

async function readText(path: string): Promise<string> {
  const { readFile } = await import('node:fs/promises')
  return readFile(path, 'utf8')
}

/** Which files a split means: `files`, else README.md's `configs`, else names that hold the split as a word, else all. */
export function selectFiles(names: readonly string[], readme: string, source: DataSource): string[] {
  const data = names.filter(isDataFile)
  const where = source.path
  if (source.files !== undefined) {
    const chosen = data.filter((name) => matchesAny(name, source.files ?? []))
    if (chosen.length > 0) return chosen
    throw new PrudentError('E_NOT_FOUND', `${where}: no data file matches ${source.files.join(', ')}`, {
      argument: 'files',
    })
  }
  const declared = declaredSplits(readme, source.subset)
  if (
    declared === null &&
    source.subset !== undefined &&
    !data.some((name) => hasWord(name, source.subset as string))
  ) {
    throw new PrudentError('E_NOT_FOUND', `${where}: no subset "${source.subset}"`, {
      argument: 'subset',
      received: source.subset,
    })
  }
  if (declared !== null) return filesOfDeclared(data, declared, source)
  const inSubset = source.subset === undefined ? data : data.filter((name) => hasWord(name, source.subset as string))
  if (inSubset.length === 0)
    throw new PrudentError('E_NOT_FOUND', `${where}: no data files (Parquet, JSON Lines)`, { argument: 'path' })
  const ofSplit = inSubset.filter((name) => hasWord(name, source.split ?? 'train'))
  if (ofSplit.length > 0) return ofSplit
  const named = SPLIT_WORDS.filter((word) => inSubset.some((name) => hasWord(name, word)))
  if (named.length === 0 && (source.split === undefined || source.split === 'train')) return inSubset
  throw noSplit(source, named)
}

const SPLIT_WORDS = ['train', 'validation', 'valid', 'dev', 'test', 'filtered', 'eval']

function hasWord(name: string, word: string): boolean {
  const parts = name.split('/')
  const base = (parts.pop() as string).replace(/\.(parquet|jsonl?|ndjson)(\.gz)?$/i, '')
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return parts.includes(word) || new RegExp(`(^|[._\\- ])${escaped}([._\\- ]|$)`).test(base)
}

function noSplit(source: DataSource, known: readonly string[]): PrudentError {
  const split = source.split ?? 'train'
  const there = known.length > 0 ? `; there is ${known.join(', ')}` : ''
  return new PrudentError('E_NOT_FOUND', `${source.path}: no split "${split}"${there}`, {
    argument: 'split',
    received: split,
  })
}

type Splits = Map<string, string[]>

/** `configs` of the front matter of a data set's README.md, as the hub's own viewer reads it. */
function declaredSplits(readme: string, subset: string | undefined): Splits | null {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme)
  if (front === null) return null
  let header: unknown
  try {
    header = parseYaml(front[1] as string)
  } catch {
    return null
  }
  const configs = isObject(header) && Array.isArray(header.configs) ? header.configs.filter(isObject) : []
  const usable = configs.filter((config) => config.data_files !== undefined)
  const wanted =
    subset === undefined
      ? (usable.find((config) => config.default === true || config.config_name === 'default') ?? usable[0])
      : usable.find((config) => config.config_name === subset)
  return wanted === undefined ? null : splitsOf(wanted.data_files)
}

function splitsOf(dataFiles: unknown): Splits {
  if (!Array.isArray(dataFiles) || dataFiles.every((entry) => typeof entry === 'string')) {
    return new Map([['train', [dataFiles].flat().map(String)]])
  }
  const entries = dataFiles
    .filter(isObject)
    .map((entry): [string, string[]] => [String(entry.split), [entry.path].flat().map(String)])
  return new Map(entries)
}

function filesOfDeclared(data: readonly string[], splits: Splits, source: DataSource): string[] {
  const patterns = splits.get(source.split ?? 'train')
  if (patterns === undefined) throw noSplit(source, [...splits.keys()])
  // A plain folder name means all data files below it.
  const asPatterns = patterns.flatMap((pattern) =>
    isPattern(pattern) ? [pattern] : [pattern, `${pattern.replace(/\/$/, '')}/**`],
  )
  const chosen = data.filter((name) => matchesAny(name, asPatterns))
  if (chosen.length > 0) return chosen
  throw new PrudentError(
    'E_NOT_FOUND',
    `${source.path}: README.md names ${patterns.join(', ')} but there is no such data file`,
  )
}
