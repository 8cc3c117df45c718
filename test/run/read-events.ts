import { crc32c } from '../../ts/run/tensorboard.js'

export interface ReadEvent {
  wallTime: number
  step: number
  fileVersion?: string
  sessionStart?: boolean
  scalars: Record<string, number>
}

/** Reads an event file by the published format, with checks of its own: lengths, both checksums, every field known. */
export function readEvents(bytes: Buffer): ReadEvent[] {
  const events: ReadEvent[] = []
  let at = 0
  while (at < bytes.length) {
    const length = Number(bytes.readBigUInt64LE(at))
    checkMasked(bytes.subarray(at, at + 8), bytes.readUInt32LE(at + 8))
    const data = bytes.subarray(at + 12, at + 12 + length)
    checkMasked(data, bytes.readUInt32LE(at + 12 + length))
    events.push(readEvent(data))
    at += 16 + length
  }
  return events
}

/** The mask undone: rotate left by 15 after subtracting the constant. */
function checkMasked(data: Uint8Array, masked: number): void {
  const rotated = (masked - 0xa282ead8) >>> 0
  const crc = ((rotated << 15) | (rotated >>> 17)) >>> 0
  if (crc !== crc32c(data)) throw new Error(`checksum: ${crc} is not ${crc32c(data)}`)
}

function readEvent(data: Buffer): ReadEvent {
  const event: ReadEvent = { wallTime: 0, step: 0, scalars: {} }
  for (const { field, value } of fields(data)) {
    if (field === 1) event.wallTime = (value as Buffer).readDoubleLE(0)
    else if (field === 2) event.step = value as number
    else if (field === 3) event.fileVersion = (value as Buffer).toString()
    else if (field === 5) Object.assign(event.scalars, readSummary(value as Buffer))
    else if (field === 7)
      event.sessionStart = [...fields(value as Buffer)].some((inner) => inner.field === 1 && inner.value === 1)
    else throw new Error(`unknown field ${field}`)
  }
  return event
}

function readSummary(data: Buffer): Record<string, number> {
  const scalars: Record<string, number> = {}
  for (const { value } of fields(data)) {
    const parts = new Map([...fields(value as Buffer)].map((part) => [part.field, part.value]))
    scalars[(parts.get(1) as Buffer).toString()] = (parts.get(2) as Buffer).readFloatLE(0)
  }
  return scalars
}

function* fields(data: Buffer): Generator<{ field: number; value: number | Buffer }> {
  let at = 0
  const varint = () => {
    let value = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = data[at++] as number
      value += (byte % 128) * shift
      if (byte < 128) return value
    }
  }
  while (at < data.length) {
    const key = varint()
    const [field, wire] = [key >> 3, key & 7]
    if (wire === 0) {
      yield { field, value: varint() }
      continue
    }
    const size = wire === 1 ? 8 : wire === 5 ? 4 : varint()
    yield { field, value: data.subarray(at, at + size) }
    at += size
  }
}
