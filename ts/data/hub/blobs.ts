import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { PrudentError } from '../../errors.js'
import { syncPath } from '../../run/atomic-files.js'
import { lockFile, type RunLock } from '../../run/lock.js'
import { type HubOptions, hubEndpoint, hubFetch, PassingFailure, persist, throwIfAborted } from './access.js'
import type { SnapshotListing } from './snapshot.js'

export interface RemoteFile {
  size: number
  /** Git object id, and for large files the SHA-256 of the content. */
  oid: string
  sha256: string | null
}

/** What a blob is called in the cache: the ETag that the hub gives it. */
export function blobName(entry: RemoteFile): string {
  return entry.sha256 ?? entry.oid
}

/** Whether a blob is there in its whole length; its hash was compared when it was made. */
export async function isWhole(path: string, entry: RemoteFile): Promise<boolean> {
  const info = await stat(path).catch(() => null)
  return info?.isFile() === true && info.size === entry.size
}

/**
 * Downloads into a file beside the blob, which a later process goes on from, and renames once size and hash are right. One process
 * at a time downloads a blob; the others wait for it, and take over where it ends.
 */
export async function fetchBlob(
  listing: SnapshotListing,
  name: string,
  entry: RemoteFile,
  blob: string,
  options: HubOptions,
): Promise<void> {
  await mkdir(dirname(blob), { recursive: true })
  const lock = await claim(blob, entry, options)
  if (lock === null) return
  try {
    const incomplete = `${blob}.prudent.incomplete`
    const resumed = (await fileSize(incomplete)) > 0
    await fetchWhole(listing, name, entry, incomplete, options)
    // What an earlier process left may be damaged; what came in one piece is as the server sent it.
    if (resumed && !(await hashMatches(incomplete, entry))) {
      await rm(incomplete)
      await fetchWhole(listing, name, entry, incomplete, options)
    }
    if (!(await hashMatches(incomplete, entry))) {
      await rm(incomplete, { force: true })
      const message = `${listing.repository.name}: ${name} arrived with another hash than the hub lists`
      throw new PrudentError('E_CORRUPT_FILE', message, { argument: name, expected: blobName(entry) })
    }
    await rename(incomplete, blob)
    await syncPath(dirname(blob))
  } finally {
    await lock.release()
  }
}

const LOOK_AGAIN_MS = 200

/** The lock of a blob, or null when another process has made it meanwhile. */
async function claim(blob: string, entry: RemoteFile, options: HubOptions): Promise<RunLock | null> {
  const folder = join(dirname(blob), '..', '..', '.locks', basename(join(dirname(blob), '..')))
  await mkdir(folder, { recursive: true })
  for (;;) {
    const lock = await lockFile(join(folder, `${basename(blob)}.prudent.lock`), { what: blob }).catch(ifLocked)
    if (await isWhole(blob, entry)) {
      await lock?.release()
      return null
    }
    if (lock !== null) return lock
    throwIfAborted(options.signal)
    await wait(LOOK_AGAIN_MS)
  }
}

function ifLocked(error: unknown): null {
  if (error instanceof PrudentError && error.code === 'E_LOCKED') return null
  throw error
}

async function fetchWhole(
  listing: SnapshotListing,
  name: string,
  entry: RemoteFile,
  incomplete: string,
  options: HubOptions,
): Promise<void> {
  const subject = { repository: listing.repository, revision: listing.commit, file: name }
  let have = await fileSize(incomplete)
  const progressed = async () => {
    const before = have
    have = await fileSize(incomplete)
    return have > before
  }
  const url = fileUrl(listing, name, options)
  const request = hubFetch(subject, options)
  await persist(() => fetchRest(request, url, entry, incomplete), subject, options, progressed)
}

export function fileUrl({ repository, commit }: SnapshotListing, name: string, options: HubOptions): string {
  const path = name.split('/').map(encodeURIComponent).join('/')
  const root = `${hubEndpoint(options)}/${repository.type === 'dataset' ? 'datasets/' : ''}${repository.name}`
  return `${root}/resolve/${commit}/${path}`
}

async function fetchRest(request: typeof fetch, url: string, entry: RemoteFile, path: string): Promise<void> {
  // A link that someone put where the file will be is not followed.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW
  const file = await open(path, flags, 0o644)
  try {
    const have = (await file.stat()).size
    const start = have > entry.size ? 0 : have
    if (start < entry.size || entry.size === 0) await receive(request, url, entry, file, start)
    await file.truncate(entry.size)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Writes what the server sends from byte `start` on; what has arrived stays when the connection breaks. */
async function receive(
  request: typeof fetch,
  url: string,
  entry: RemoteFile,
  file: FileHandle,
  start: number,
): Promise<void> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (start > 0) headers.range = `bytes=${start}-`
  const response = await request(url, { headers })
  const { status, body } = response
  if (status === 206 && firstByte(response) !== start) {
    await body?.cancel()
    throw new PassingFailure(`byte ${firstByte(response)} came where byte ${start} was asked for`)
  }
  let at = status === 206 ? start : 0
  await file.truncate(at)
  for await (const chunk of body ?? []) {
    if (at + chunk.byteLength > entry.size) throw new PassingFailure(`more than the ${entry.size} listed bytes arrive`)
    await file.write(chunk, 0, chunk.byteLength, at)
    at += chunk.byteLength
  }
  if (at !== entry.size) throw new PassingFailure(`${at} of ${entry.size} bytes arrived`)
}

function firstByte(response: Response): number | null {
  const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')
  return range === null ? null : Number(range[1])
}

export function fileSize(path: string): Promise<number> {
  return stat(path).then(
    (info) => info.size,
    () => 0,
  )
}

async function hashMatches(file: string, entry: RemoteFile): Promise<boolean> {
  const hash = createHash(entry.sha256 === null ? 'sha1' : 'sha256')
  if (entry.sha256 === null) hash.update(`blob ${entry.size}\0`)
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex') === blobName(entry)
}

/** @throws E_IO before the first byte where the files would not fit */
export async function checkRoom(folder: string, bytes: number, what: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const { bavail, bsize } = await statfs(folder)
  if (bytes <= bavail * bsize) return
  const [expected, received] = [`${gigabytes(bytes)} free in ${folder}`, gigabytes(bavail * bsize)]
  const message = `${what}: expected ${expected}, received ${received}; HF_HUB_CACHE moves the cache`
  throw new PrudentError('E_IO', message, { argument: 'cache', expected, received })
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(bytes < 1e8 ? 3 : 1)} GB`
}
