import { open } from 'node:fs/promises'

/** Names, shapes and dtypes of a safetensors file. */
export async function readSafetensorsHeader(path: string): Promise<Record<string, { shape: number[]; dtype: string }>> {
  const file = await open(path)
  try {
    const length = Number((await file.read(Buffer.alloc(8), 0, 8, 0)).buffer.readBigUInt64LE(0))
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, 8)
    return JSON.parse(buffer.toString())
  } finally {
    await file.close()
  }
}
