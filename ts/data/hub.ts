import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, relative, sep } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PrudentError } from '../errors.js'
import { matchesAny } from './patterns.js'

export interface Repository {
  type: 'model' | 'dataset'
  /** `owner/name`. */
  name: string
}

export interface HubOptions {
  /** Cache folder; default as in Python: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub. */
  cacheFolder?: string | undefined
  /** Default HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string | undefined
  /** Default HF_TOKEN. */
  token?: string | undefined
  /** Default: HF_HUB_OFFLINE or PRUDENT_OFFLINE is set. */
  offline?: boolean | undefined
  /** Files downloaded at once. */
  concurrency?: number | undefined
  /** Milliseconds before the first new try; each further one waits four times as long. */
  retryDelay?: number | undefined
  signal?: AbortSignal | undefined
  /** Called with the number of files there so far. */
  progress?: ((done: number, total: number) => void) | undefined
}

export interface SnapshotListing {
  repository: Repository
  /** The commit that the revision stood for, 40 hex digits. */
  commit: string
  /** Files of the commit; offline, those in the cache. */
  files: string[]
  entries: ReadonlyMap<string, RemoteFile>
  cached: boolean
}

interface RemoteFile {
  size: number
  /** Git object id, and for large files the SHA-256 of the content. */
  oid: string
  sha256: string | null
}

const COMMIT = /^[0-9a-f]{40}$/
const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/

export function isOffline(environment: NodeJS.ProcessEnv = process.env): boolean {
  return [environment.HF_HUB_OFFLINE, environment.PRUDENT_OFFLINE].some((value) =>
    /^(1|on|yes|true)$/i.test(value ?? ''),
  )
}

/** The commit that a revision stands for and its files. With offline mode on, the cache alone is asked. */
export async function listSnapshot(
  repository: Repository,
  options: HubOptions & { revision?: string | undefined; patterns?: readonly string[] | undefined } = {},
): Promise<SnapshotListing> {
  checkName(repository.name)
  const revision = options.revision ?? 'main'
  checkRevision(revision)
  const root = repositoryFolder(repository, options)
  if (options.offline ?? isOffline()) return cachedListing(repository, root, revision)
  // Loaded late: commands on local files never need it.
  const hub = await import('@huggingface/hub')
  const request = { ...access(options), revision }
  const name = repository.name
  try {
    const query = { ...request, name, additionalFields: ['sha' as const] }
    const { sha } = repository.type === 'model' ? await hub.modelInfo(query) : await hub.datasetInfo(query)
    if (!COMMIT.test(sha))
      throw new PrudentError('E_HUB', `${name}: the hub answered with "${sha}" where a commit was expected`)
    if (sha !== revision) await writeReference(root, revision, sha)
    const entries = new Map<string, RemoteFile>()
    for await (const entry of hub.listFiles({ ...request, repo: repository, revision: sha, recursive: true })) {
      if (entry.type !== 'file') continue
      checkFileName(entry.path, name)
      entries.set(entry.path, {
        size: entry.lfs?.size ?? entry.size,
        oid: entry.oid ?? '',
        sha256: entry.lfs?.oid ?? null,
      })
    }
    return { repository, commit: sha, files: [...entries.keys()].sort(), entries, cached: false }
  } catch (cause) {
    throw hubError(repository, revision, cause)
  }
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
  const waiting = [...names]
  let done = 0
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      throwIfAborted(options.signal)
      await download(listing, name, root, options)
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

/** Python's cache of repositories: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub. */
export function hubCacheFolder(): string {
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  return process.env.HF_HUB_CACHE ?? process.env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')
}

function repositoryFolder(repository: Repository, options: HubOptions): string {
  return join(options.cacheFolder ?? hubCacheFolder(), `${repository.type}s--${repository.name.split('/').join('--')}`)
}

/** Requests with the token in the header: mirrors have tokens of other forms than the library accepts as its own argument. */
function access(options: HubOptions): { hubUrl: string; fetch: typeof fetch } {
  const hubUrl = (options.endpoint ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')
  const token = options.token ?? process.env.HF_TOKEN ?? process.env.HUGGING_FACE_HUB_TOKEN
  const { signal } = options
  const request: typeof fetch = (url, init) => {
    const headers = new Headers(init?.headers)
    if (token && new URL(String(url)).origin === new URL(hubUrl).origin) headers.set('authorization', `Bearer ${token}`)
    return fetch(url, { ...init, headers, ...(signal === undefined ? {} : { signal }) })
  }
  return { hubUrl, fetch: request }
}

function checkName(name: string): void {
  if (/^[\w.-]+(\/[\w.-]+)?$/.test(name) && !name.includes('..') && !name.includes('--')) return
  throw new PrudentError('E_USAGE', `"${name}": expected a hub id such as owner/name`, {
    argument: 'name',
    received: name,
  })
}

function checkRevision(revision: string): void {
  const parts = revision.split('/')
  if (/^[\w./-]+$/.test(revision) && !parts.some((part) => part === '' || part === '.' || part === '..')) return
  throw new PrudentError('E_USAGE', `revision: "${revision}" is no branch, tag or commit`, {
    argument: 'revision',
    received: revision,
  })
}

/** Names come from the repository and are joined onto the cache folder: nothing may lead out of it. */
function checkFileName(path: string, name: string): void {
  const parts = path.split(/[/\\]/)
  const outside =
    path === '' || parts.some((part) => part === '..' || part === '.' || part === '') || /^[a-zA-Z]:/.test(path)
  if (outside)
    throw new PrudentError(
      'E_HUB',
      `${name}: refused the file name ${JSON.stringify(path)}, which leads out of the cache`,
    )
}

async function writeReference(root: string, revision: string, commit: string): Promise<void> {
  const file = join(root, 'refs', ...revision.split('/'))
  await mkdir(dirname(file), { recursive: true })
  const beside = `${file}.${randomUUID()}.partial`
  await writeFile(beside, commit)
  await rename(beside, file)
}

async function cachedListing(repository: Repository, root: string, revision: string): Promise<SnapshotListing> {
  const reference = await readFile(join(root, 'refs', ...revision.split('/')), 'utf8').catch(() => null)
  const commit = COMMIT.test(revision) ? revision : reference?.trim()
  const folder = join(root, 'snapshots', commit ?? 'none')
  const entries =
    commit === undefined ? [] : await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const found = entries.filter((entry) => !entry.isDirectory())
  const paths = found.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
  const there = await Promise.all(
    paths.map((path) =>
      stat(join(folder, path)).then(
        () => true,
        () => false,
      ),
    ),
  )
  const files = paths.filter((_, index) => there[index]).sort()
  if (commit === undefined || files.length === 0) {
    throw new PrudentError(
      'E_OFFLINE',
      `${repository.name} (${revision}) is not in the cache ${root}, and offline mode is on`,
      {
        argument: 'path',
        received: repository.name,
      },
    )
  }
  return { repository, commit, files, entries: new Map(), cached: true }
}

async function download(listing: SnapshotListing, name: string, root: string, options: HubOptions): Promise<void> {
  const entry = listing.entries.get(name)
  if (entry === undefined) throw new PrudentError('E_NOT_FOUND', `${listing.repository.name}: no file ${name}`)
  const etag = entry.sha256 ?? entry.oid
  if (!HASH.test(etag)) throw new PrudentError('E_HUB', `${listing.repository.name}: ${name} has no usable hash`)
  const pointer = join(root, 'snapshots', listing.commit, ...name.split('/'))
  if (await isThere(pointer)) return
  const blob = join(root, 'blobs', etag)
  if (!(await isThere(blob))) await fetchBlob(listing, name, entry, blob, options)
  await mkdir(dirname(pointer), { recursive: true })
  await rm(pointer, { force: true })
  await symlink(relative(dirname(pointer), blob), pointer).catch(async (error: NodeJS.ErrnoException) => {
    // Another process made the same link first.
    if (error.code !== 'EEXIST' || !(await lstat(pointer)).isSymbolicLink()) throw error
  })
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** Tries in a row that bring no byte before a download is given up. */
const FRUITLESS_TRIES = 4

/** Downloads into `<blob>.incomplete`, which a later process goes on from, and renames once the hash is right. */
async function fetchBlob(
  listing: SnapshotListing,
  name: string,
  entry: RemoteFile,
  blob: string,
  options: HubOptions,
): Promise<void> {
  await mkdir(dirname(blob), { recursive: true })
  const { incomplete, release } = await claimIncomplete(blob)
  try {
    let have = await fileSize(incomplete)
    for (let fruitless = 1; ; fruitless++) {
      const problem = await fetchRest(listing, name, entry, incomplete, options).then(() => null, asError)
      if (problem === null) break
      throwIfAborted(options.signal)
      const now = await fileSize(incomplete)
      if (now > have) fruitless = 0
      have = now
      const isPermanent = problem instanceof PrudentError
      if (isPermanent || fruitless >= FRUITLESS_TRIES) throw hubError(listing.repository, listing.commit, problem, name)
      await new Promise((resolve) => setTimeout(resolve, (options.retryDelay ?? 250) * 4 ** fruitless))
    }
    if (await hashMatches(incomplete, entry)) return await rename(incomplete, blob)
    await rm(incomplete, { force: true })
    throw new PrudentError(
      'E_CORRUPT_FILE',
      `${listing.repository.name}: ${name} arrived with another hash than the hub lists`,
    )
  } finally {
    await release()
  }
}

function asError(cause: unknown): Error {
  return cause as Error
}

function fileSize(path: string): Promise<number> {
  return stat(path).then(
    (info) => info.size,
    () => 0,
  )
}

/** Two processes never write the same file: the second one downloads into a file of its own. */
async function claimIncomplete(blob: string): Promise<{ incomplete: string; release: () => Promise<void> }> {
  const lock = `${blob}.lock`
  const owner = Number(await readFile(lock, 'utf8').catch(() => '0'))
  if (owner > 0 && !isRunning(owner)) await rm(lock, { force: true })
  const claimed = await writeFile(lock, String(process.pid), { flag: 'wx' }).then(
    () => true,
    () => false,
  )
  const incomplete = claimed ? `${blob}.incomplete` : `${blob}.${randomUUID()}.incomplete`
  return { incomplete, release: () => rm(claimed ? lock : incomplete, { force: true }) }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function fetchRest(
  listing: SnapshotListing,
  name: string,
  entry: RemoteFile,
  file: string,
  options: HubOptions,
): Promise<void> {
  const { hubUrl, fetch: request } = access(options)
  const { repository, commit } = listing
  const have = await fileSize(file)
  if (have > entry.size) await rm(file)
  const start = have > entry.size ? 0 : have
  if (start === entry.size && start > 0) return
  const path = name.split('/').map(encodeURIComponent).join('/')
  const url = `${hubUrl}/${repository.type === 'dataset' ? 'datasets/' : ''}${repository.name}/resolve/${commit}/${path}`
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (start > 0) headers.range = `bytes=${start}-`
  // fetch drops the authorization header itself where a redirect leads to another host.
  const response = await request(url, { headers })
  if (!response.ok) {
    const error = Object.assign(new Error(`HTTP status ${response.status}`), { statusCode: response.status })
    if (response.status >= 500 || response.status === 429) throw error
    throw hubError(repository, commit, error, name)
  }
  if (response.body === null) throw new Error('the answer had no body')
  const resumed = response.status === 206
  await pipeline(
    Readable.fromWeb(response.body as import('node:stream/web').ReadableStream),
    createWriteStream(file, { flags: resumed ? 'a' : 'w' }),
  )
  const { size } = await stat(file)
  if (size !== entry.size) throw new Error(`${size} of ${entry.size} bytes arrived`)
}

async function hashMatches(file: string, entry: RemoteFile): Promise<boolean> {
  const hash = createHash(entry.sha256 === null ? 'sha1' : 'sha256')
  if (entry.sha256 === null) hash.update(`blob ${entry.size}\0`)
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex') === (entry.sha256 ?? entry.oid)
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new PrudentError('E_CANCELLED', 'the download was stopped', { cause: signal.reason })
}

function hubError(repository: Repository, revision: string, cause: unknown, file?: string): PrudentError {
  if (cause instanceof PrudentError) return cause
  if ((cause as Error).name === 'AbortError')
    return new PrudentError('E_CANCELLED', 'the download was stopped', { cause })
  const status = (cause as { statusCode?: number }).statusCode
  const what = `${repository.type} ${repository.name} (${revision})${file === undefined ? '' : `, ${file}`}`
  if (status === 404)
    return new PrudentError('E_NOT_FOUND', `${what}: the hub has no such repository, revision or file`, { cause })
  if (status === 401 || status === 403) {
    return new PrudentError(
      'E_HUB',
      `${what}: the hub refused access (${status}); set HF_TOKEN, or accept the licence on its page`,
      { cause },
    )
  }
  // fetch hides why a connection failed in the cause of its error.
  const { message, cause: inner } = cause as Error
  const reason = (inner as Error | undefined)?.message || (inner as NodeJS.ErrnoException | undefined)?.code || message
  return new PrudentError('E_HUB', `${what}: ${reason}`, { cause })
}
