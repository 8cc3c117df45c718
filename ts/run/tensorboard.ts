import { type FileHandle, open } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { writeError } from './atomic-files.js'

/**
 * TensorBoard event files: records of length, masked CRC-32C of the length, data, masked CRC-32C of the data (the TFRecord
 * format), the data being `tensorflow.Event` protocol buffers of which scalars need a handful of fields.
 */
export class EventWriter {
  readonly path: string
  readonly #file: FileHandle

  private constructor(path: string, file: FileHandle) {
    this.path = path
    this.#file = file
  }

  /**
   * Starts a new event file in a folder. `resumedAfter` tells TensorBoard to forget what older files of the folder hold after
   * that step.
   */
  static async create(folder: string, options: { resumedAfter?: number } = {}): Promise<EventWriter> {
    const seconds = Math.floor(Date.now() / 1000)
    const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}`
    for (let attempt = 0; ; attempt++) {
      const path = join(folder, `${name}.${attempt}`)
      try {
        const writer = new EventWriter(path, await open(path, 'wx'))
        await writer.#write(concat(wallTime(), lengthDelimited(FILE_VERSION, text('brain.Event:2'))))
        if (options.resumedAfter !== undefined) {
          const start = lengthDelimited(SESSION_LOG, varintField(1, SESSION_START))
          await writer.#write(concat(wallTime(), varintField(STEP, options.resumedAfter + 1), start))
        }
        return writer
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(path, cause)
      }
    }
  }

  /** One event with a scalar for each name; values are stored in single precision. */
  async scalars(step: number, values: Readonly<Record<string, number>>): Promise<void> {
    const entries = Object.entries(values).map(([name, value]) =>
      lengthDelimited(SUMMARY_VALUE, concat(lengthDelimited(VALUE_TAG, text(name)), floatField(VALUE_SIMPLE, value))),
    )
    await this.#write(concat(wallTime(), varintField(STEP, step), lengthDelimited(SUMMARY, concat(...entries))))
  }

  async sync(): Promise<void> {
    await this.#file.sync().catch((cause) => {
      throw writeError(this.path, cause)
    })
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  async #write(event: Uint8Array): Promise<void> {
    await this.#file.writeFile(record(event)).catch((cause) => {
      throw writeError(this.path, cause)
    })
  }
}

// Field numbers of tensorflow.Event, Summary, Summary.Value and SessionLog.
const STEP = 2
const FILE_VERSION = 3
const SUMMARY = 5
const SESSION_LOG = 7
const SUMMARY_VALUE = 1
const VALUE_TAG = 1
const VALUE_SIMPLE = 2
const SESSION_START = 1

function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16)
  const view = new DataView(out.buffer)
  view.setBigUint64(0, BigInt(data.length), true)
  view.setUint32(8, maskedCrc32c(out.subarray(0, 8)), true)
  out.set(data, 12)
  view.setUint32(12 + data.length, maskedCrc32c(data), true)
  return out
}

function wallTime(): Uint8Array {
  const out = new Uint8Array(9)
  out[0] = (1 << 3) | 1
  new DataView(out.buffer).setFloat64(1, Date.now() / 1000, true)
  return out
}

function varintField(field: number, value: number): Uint8Array {
  return concat(varint(field << 3), varint(value))
}

function floatField(field: number, value: number): Uint8Array {
  const out = new Uint8Array(5)
  out[0] = (field << 3) | 5
  new DataView(out.buffer).setFloat32(1, value, true)
  return out
}

function lengthDelimited(field: number, content: Uint8Array): Uint8Array {
  return concat(varint((field << 3) | 2), varint(content.length), content)
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Uint8Array.from([...bytes, rest])
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), by table. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value >>> 0
})

export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) crc = (CRC_TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

/** TFRecord masks checksums, so that data that holds checksums itself does no harm. */
export function maskedCrc32c(data: Uint8Array): number {
  const crc = crc32c(data)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}
