import { readFileSync } from 'node:fs'

/** A safetensors file of fp32 tensors, read whole. */
export class SafetensorsFile {
  readonly #bytes: Buffer
  readonly #begin: number
  readonly #entries: Record<string, { dtype: string; data_offsets: [number, number] }>

  constructor(path: string) {
    this.#bytes = readFileSync(path)
    const length = Number(this.#bytes.readBigUInt64LE(0))
    this.#begin = 8 + length
    const header = JSON.parse(this.#bytes.subarray(8, this.#begin).toString())
    const { __metadata__: _, ...entries } = header
    this.#entries = entries
  }

  get names(): string[] {
    return Object.keys(this.#entries)
  }

  values(name: string): Float32Array {
    const entry = this.#entries[name]
    if (entry?.dtype !== 'F32') throw new Error(`${name}: expected an F32 tensor, found ${entry?.dtype ?? 'none'}`)
    const [first, last] = entry.data_offsets
    return new Float32Array(Uint8Array.from(this.#bytes.subarray(this.#begin + first, this.#begin + last)).buffer)
  }
}
