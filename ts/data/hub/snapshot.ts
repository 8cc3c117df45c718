import { randomUUID } from 'node:crypto'
import {
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { PrudentError } from '../../errors.js'
import { matchesAny } from '../patterns.js'
import {
  type HubOptions,
  hubCacheFolder,
  hubEndpoint,
  hubFetch,
  isOffline,
  persist,
  type Repository,
  throwIfAborted,
} from './access.js'
import { blobName, checkRoom, fetchBlob, fileSize, isWhole, type RemoteFile } from './blobs.js'
import { checkFileName, checkNoFileIsFolder, checkRepositoryName, checkRevision } from './names.js'

export interface SnapshotListing {
  repository: Repository
  /** The commit that the revision stood for, 40 hex digits. */
  commit: string
  /** Files of the commit; offline, those in the cache. */
  files: string[]
  entries: ReadonlyMap<string, RemoteFile>
  cached: boolean
}

const COMMIT = /^[0-9a-f]{40}$/
const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/

/** The commit that a revision stands for and its files. With offline mode on, the cache alone is asked. */
export async function listSnapshot(
  repository: Repository,
  options: HubOptions & { revision?: string | undefined } = {},
): Promise<SnapshotListing> {
  checkRepositoryName(repository.name)
  const revision = options.revision ?? 'main'
  checkRevision(revision)
  const root = repositoryFolder(repository, options)
  if (options.offline ?? isOffline()) return cachedListing(repository, root, revision)
  const subject = { repository, revision }
  const listing = await persist(() => remoteListing(repository, revision, options), subject, options)
  if (listing.commit !== revision) await writeReference(root, revision, listing.commit)
  return listing
}

async function remoteListing(repository: Repository, revision: string, options: HubOptions): Promise<SnapshotListing> {
  // Loaded late: commands on local files never need it.
  const hub = await import('@huggingface/hub')
  const { name } = repository
  const access = { hubUrl: hubEndpoint(options), fetch: hubFetch({ repository, revision }, options) }
  const query = { ...access, revision, name, additionalFields: ['sha' as const] }
  const { sha } = repository.type === 'model' ? await hub.modelInfo(query) : await hub.datasetInfo(query)
  if (!COMMIT.test(sha))
    throw new PrudentError('E_HUB', `${name}: the hub answered with "${sha}" where a commit was expected`)
  const entries = new Map<string, RemoteFile>()
  for await (const entry of hub.listFiles({ ...access, repo: repository, revision: sha, recursive: true })) {
    if (entry.type !== 'file') continue
    const { lfs, oid = '', path } = entry
    entries.set(path, { size: lfs?.size ?? entry.size, oid, sha256: lfs?.oid ?? null })
  }
  const files = [...entries.keys()].sort()
  checkNoFileIsFolder(files, name)
  return { repository, commit: sha, files, entries, cached: false }
}

/** The snapshot folder of a listing with the named files in it, downloading what the cache lacks. */
export async function openSnapshot(
  listing: SnapshotListing,
  names: readonly string[],
  options: HubOptions = {},
): Promise<string> {
  const root = repositoryFolder(listing.repository, options)
  const folder = join(root, 'snapshots', listing.commit)
  if (listing.cached) return folder
  const wanted = names.map((name) => ({ name, entry: entryOf(listing, name) }))
  await checkRoom(root, await missingBytes(root, wanted), listing.repository.name)
  let done = 0
  const worker = async () => {
    for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) {
      throwIfAborted(options.signal)
      await download(listing, next, root, options)
      options.progress?.(++done, names.length)
    }
  }
  await Promise.all(Array.from({ length: Math.min(options.concurrency ?? 4, names.length) }, worker))
  return folder
}

/** Files of a repository that match the patterns, in the cache; returns their folder and commit. */
export async function downloadSnapshot(
  repository: Repository,
  options: HubOptions & { revision?: string | undefined; patterns: readonly string[] },
): Promise<{ folder: string; commit: string; files: string[] }> {
  const listing = await listSnapshot(repository, options)
  const files = listing.files.filter((name) => matchesAny(name, options.patterns))
  return { folder: await openSnapshot(listing, files, options), commit: listing.commit, files }
}

/** Where a repository lies in the cache. */
export function repositoryFolder(repository: Repository, options: HubOptions): string {
  return join(options.cacheFolder ?? hubCacheFolder(), `${repository.type}s--${repository.name.split('/').join('--')}`)
}

interface Wanted {
  name: string
  entry: RemoteFile
}

/** Everything that the hub says of a file is checked before it becomes a path. */
function entryOf({ repository, entries }: SnapshotListing, name: string): RemoteFile {
  checkFileName(name, repository.name)
  const entry = entries.get(name)
  if (entry === undefined) throw new PrudentError('E_NOT_FOUND', `${repository.name}: no file ${name}`)
  const { size, sha256 } = entry
  const usable = HASH.test(blobName(entry)) && (sha256 === null || sha256.length === 64)
  if (usable && Number.isSafeInteger(size) && size >= 0) return entry
  throw new PrudentError('E_HUB', `${repository.name}: the hub lists ${name} without a usable size and hash`)
}

async function missingBytes(root: string, wanted: readonly Wanted[]): Promise<number> {
  let bytes = 0
  for (const { entry } of wanted) {
    const blob = join(root, 'blobs', blobName(entry))
    if (!(await isWhole(blob, entry))) bytes += entry.size - (await fileSize(`${blob}.prudent.incomplete`))
  }
  return bytes
}

async function download(
  listing: SnapshotListing,
  { name, entry }: Wanted,
  root: string,
  options: HubOptions,
): Promise<void> {
  const folder = join(root, 'snapshots', listing.commit)
  const pointer = join(folder, ...name.split('/'))
  if (await isWhole(pointer, entry)) return
  const blob = join(root, 'blobs', blobName(entry))
  if (!(await isWhole(blob, entry))) await fetchBlob(listing, name, entry, blob, options)
  await mkdir(dirname(pointer), { recursive: true })
  await checkInside(folder, dirname(pointer), name)
  await linkBlob(blob, pointer)
}

/** A link among the snapshot's folders would lead what is written below it somewhere else. */
async function checkInside(snapshot: string, folder: string, name: string): Promise<void> {
  const [root, real] = await Promise.all([realpath(snapshot), realpath(folder)])
  if (real === root || real.startsWith(root + sep)) return
  throw new PrudentError('E_HUB', `${snapshot}: a link leads ${name} to ${real}, out of the cache; remove it`, {
    argument: 'cache',
    received: real,
  })
}

/** Made beside and renamed, so that the name stands for a whole file at any time; a copy where there are no symbolic links. */
async function linkBlob(blob: string, pointer: string): Promise<void> {
  const beside = `${pointer}.${randomUUID().slice(0, 8)}.partial`
  try {
    await symlink(relative(dirname(pointer), blob), beside).catch((error: NodeJS.ErrnoException) => {
      if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(error.code ?? '')) throw error
      return copyFile(blob, beside)
    })
    if ((await lstat(pointer).catch(() => null))?.isDirectory()) await rm(pointer, { recursive: true })
    await rename(beside, pointer)
  } finally {
    await rm(beside, { force: true })
  }
}

async function writeReference(root: string, revision: string, commit: string): Promise<void> {
  const file = join(root, 'refs', ...revision.split('/'))
  await mkdir(dirname(file), { recursive: true })
  const beside = `${file}.${randomUUID()}.partial`
  await writeFile(beside, commit)
  await rename(beside, file)
}

async function cachedListing(repository: Repository, root: string, revision: string): Promise<SnapshotListing> {
  const reference = await readFile(join(root, 'refs', ...revision.split('/')), 'utf8').catch(() => '')
  const commit = COMMIT.test(revision) ? revision : reference.trim()
  const files = COMMIT.test(commit) ? await filesIn(join(root, 'snapshots', commit)) : []
  if (files.length > 0) return { repository, commit, files, entries: new Map(), cached: true }
  const message = `${repository.name} (${revision}) is not in the cache ${root}, and offline mode is on; "prudent download ${repository.name}" fetches it where there is a network; nor is there a folder ${repository.name} here`
  throw new PrudentError('E_OFFLINE', message, { argument: 'path', received: repository.name })
}

/** Files below a folder, relative, without links whose blob is gone. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files: string[] = []
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const there = (await stat(path).catch(() => null))?.isFile() ?? false
    if (there && !entry.name.endsWith('.partial')) files.push(relative(folder, path).split(sep).join('/'))
  }
  return files.sort()
}
