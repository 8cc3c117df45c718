import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  gigabytes,
  type HubOptions,
  listSnapshot,
  openSnapshot,
  type Repository,
  type SnapshotListing,
} from '../../data/hub.js'
import { modelFiles } from '../../data/model-files.js'
import { matchesAny } from '../../data/patterns.js'
import { isDataFile } from '../../data/rows.js'
import { type DataSource, expandHome, pathExists, selectedNames } from '../../data/sources.js'
import { PrudentError } from '../../errors.js'
import type { DownloadOptions } from '../download.js'
import { needsOf } from '../validate/needs.js'
import { loadAnyConfig } from './any-config.js'
import type { Session } from './session.js'

interface Wish {
  name: string
  revision: string | undefined
  type: 'model' | 'dataset' | undefined
  /** Part of a data set, where a configuration asks for one. */
  source?: DataSource
}

/** `prudent download` */
export async function runDownload(session: Session, ids: readonly string[], options: DownloadOptions): Promise<void> {
  const wishes = [...ids.map((id) => parseId(id, options.type)), ...(await wishesOf(options))]
  if (wishes.length === 0) {
    throw new PrudentError(
      'E_USAGE',
      'nothing to download: name ids, or a --config that names models or data of the hub',
    )
  }
  for (const wish of wishes) {
    const listing = await find(wish, { signal: session.signal })
    const names = await chosen(listing, wish, options, { signal: session.signal })
    const bytes = names.reduce((sum, name) => sum + (listing.entries.get(name)?.size ?? 0), 0)
    session.note(`${wish.name}: ${names.length} files, ${gigabytes(bytes)}`)
    const { type, name } = listing.repository
    const line = { id: name, type, revision: listing.commit, files: names.length, bytes }
    if (options.dryRun) process.stdout.write(`${JSON.stringify({ ...line, names })}\n`)
    else {
      const folder = await fetchFiles(session, listing, names)
      const size = listing.cached ? await sizeOf(folder, names) : bytes
      process.stdout.write(`${JSON.stringify({ ...line, bytes: size, folder })}\n`)
    }
  }
}

async function fetchFiles(session: Session, listing: SnapshotListing, names: readonly string[]): Promise<string> {
  const bar = session.progress('files', names.length)
  try {
    const progress = (done: number, total: number) => bar.update(done, total)
    return await openSnapshot(listing, names, { signal: session.signal, progress })
  } finally {
    bar.stop()
  }
}

function parseId(id: string, type: Wish['type']): Wish {
  const [name = '', revision, ...rest] = id.split('@')
  if (rest.length > 0) throw new PrudentError('E_USAGE', `"${id}": expected owner/name or owner/name@revision`)
  return name.startsWith('datasets/')
    ? { name: name.slice('datasets/'.length), revision, type: 'dataset' }
    : { name, revision, type }
}

/** What a configuration names that is not on this machine. */
async function wishesOf({ config, as, set }: DownloadOptions): Promise<Wish[]> {
  if (config === undefined) return []
  const needs = needsOf(await loadAnyConfig(config, { as, set }))
  const models = [
    ...needs.models.flatMap(({ reference, tokenizer }) => [reference, ...(tokenizer ? [tokenizer] : [])]),
    ...needs.tokenizers.map(({ reference }) => reference),
  ].map(({ path, revision }): Wish => ({ name: path, revision, type: 'model' }))
  const data = needs.data.map(
    ({ source }): Wish => ({ name: source.path, revision: source.revision, type: 'dataset', source }),
  )
  const wishes: Wish[] = []
  for (const wish of [...models, ...data]) {
    const isLocal = await pathExists(expandHome(wish.name))
    if (!isLocal && !wishes.some((other) => JSON.stringify(other) === JSON.stringify(wish))) wishes.push(wish)
  }
  return wishes
}

/** A repository of either type: names of models and of data sets are apart on the hub. */
async function find(wish: Wish, options: HubOptions): Promise<SnapshotListing> {
  const list = (type: Repository['type']) =>
    listSnapshot({ type, name: wish.name }, { ...options, revision: wish.revision })
  if (wish.type !== undefined) return list(wish.type)
  try {
    return await list('model')
  } catch (error) {
    if (!(error instanceof PrudentError) || !['E_NOT_FOUND', 'E_OFFLINE'].includes(error.code)) throw error
    return list('dataset').catch(() => {
      throw error
    })
  }
}

async function chosen(
  listing: SnapshotListing,
  wish: Wish,
  { include }: DownloadOptions,
  options: HubOptions,
): Promise<string[]> {
  const names = await readable(listing, wish, include, options)
  if (names.length > 0) return names
  const what = include === undefined ? 'no file that prudent reads' : `no file matches ${include.join(', ')}`
  throw new PrudentError('E_NOT_FOUND', `${wish.name}: ${what}`, { argument: 'ids', received: wish.name })
}

async function readable(
  { repository, ...listing }: SnapshotListing,
  wish: Wish,
  include: readonly string[] | undefined,
  options: HubOptions,
): Promise<string[]> {
  if (include !== undefined) return listing.files.filter((name) => matchesAny(name, include))
  if (repository.type === 'model') return modelFiles(listing.files, wish.name)
  const readme = listing.files.filter((name) => name === 'README.md')
  if (wish.source === undefined) return [...readme, ...listing.files.filter(isDataFile)]
  return [...readme, ...(await selectedNames({ repository, ...listing }, wish.source, options))]
}

async function sizeOf(folder: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
