import { open } from 'node:fs/promises'
import { PrudentError } from '../../errors.js'
import { type HubOptions, hubFetch, PassingFailure, persist } from './access.js'
import { fileUrl } from './blobs.js'
import type { SnapshotListing } from './snapshot.js'

/** The limit of the format's own reader. */
const LONGEST_HEADER = 100_000_000

/** Reads bytes `start` to `end` of something. */
export type RangeReader = (start: number, end: number) => Promise<Buffer>

/** The first 8 bytes and the JSON header of a safetensors file, which say all of its tensors but their values. */
export async function readHeader(read: RangeReader, size: number, path: string): Promise<Buffer> {
  const broken = (expected: string, received: string) =>
    new PrudentError('E_CORRUPT_FILE', `${path}: expected ${expected}, received ${received}`, { expected, received })
  if (size < 8) throw broken('a header length of 8 bytes', `a file of ${size} bytes`)
  const length = await read(0, 8)
  const bytes = Number(length.readBigUInt64LE())
  if (bytes > Math.min(LONGEST_HEADER, size - 8)) throw broken('a header within the file', `one of ${bytes} bytes`)
  return Buffer.concat([length, await read(8, 8 + bytes)])
}

/** Ranges of a local file. */
export async function readLocalHeader(path: string): Promise<{ header: Buffer; size: number }> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const read: RangeReader = async (start, end) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start)
      return buffer.subarray(0, bytesRead)
    }
    return { header: await readHeader(read, size, path), size }
  } finally {
    await file.close()
  }
}

/** Ranges of a file of a repository: the header of gigabytes of weights is some ten kilobytes. */
export async function readRemoteHeader(
  listing: SnapshotListing,
  name: string,
  options: HubOptions,
): Promise<{ header: Buffer; size: number }> {
  const size = listing.entries.get(name)?.size ?? 0
  const subject = { repository: listing.repository, revision: listing.commit, file: name }
  const request = hubFetch(subject, options)
  const url = fileUrl(listing, name, options)
  const read: RangeReader = (start, end) => persist(() => fetchRange(request, url, start, end), subject, options)
  return { header: await readHeader(read, size, `${listing.repository.name}: ${name}`), size }
}

async function fetchRange(request: typeof fetch, url: string, start: number, end: number): Promise<Buffer> {
  const response = await request(url, {
    headers: { range: `bytes=${start}-${end - 1}`, 'accept-encoding': 'identity' },
  })
  // A server without ranges sends the whole file: its beginning is read and the rest refused.
  let skip = response.status === 206 ? 0 : start
  const parts: Uint8Array[] = []
  let have = 0
  for await (const chunk of response.body ?? []) {
    const part = chunk.subarray(skip)
    skip = Math.max(0, skip - chunk.byteLength)
    parts.push(part)
    have += part.byteLength
    if (have >= end - start) break
  }
  if (have < end - start) throw new PassingFailure(`${have} of ${end - start} bytes arrived`)
  return Buffer.concat(parts).subarray(0, end - start)
}
