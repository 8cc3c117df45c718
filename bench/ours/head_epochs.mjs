import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FeatureCache, HeadsTrainer } from '../../dist/ts/index.js'
import { Random } from '../support/random.mjs'
import { timed } from './timed.mjs'

/** Epochs of `heads` heads on features that are there already: rows 2i chosen, 2i + 1 rejected. */
export async function load({ heads, pairs, hidden, batch }) {
  const random = new Random(3)
  const features = await randomFeatures(random, 2 * pairs, hidden)
  const initial = Float32Array.from({ length: heads * hidden }, () => 0.02 * random.normal())
  const trainer = await HeadsTrainer.create(features, { heads, initial, maxGradNorm: 0 })
  const epoch = async () => {
    for (let from = 0; from < pairs; from += batch) {
      const chosen = Int32Array.from({ length: Math.min(batch, pairs - from) }, (_, row) => 2 * (from + row))
      await trainer.step({ chosen, rejected: chosen.map((row) => row + 1) }, { lr: 1e-3 })
    }
  }
  return { held: 4 * 2 * pairs * hidden, run: async () => ({ seconds: (await timed(epoch)).seconds }) }
}

/** Features come from a file: one tensor, `features` [rows, hidden]. */
async function randomFeatures(random, rows, hidden) {
  const folder = mkdtempSync(join(tmpdir(), 'prudent-features-'))
  const data = Buffer.from(Float32Array.from({ length: rows * hidden }, () => random.normal()).buffer)
  const header = JSON.stringify({ features: { dtype: 'F32', shape: [rows, hidden], data_offsets: [0, data.length] } })
  const text = header.padEnd(Math.ceil(header.length / 8) * 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(join(folder, 'features.safetensors'), Buffer.concat([length, Buffer.from(text), data]))
  const features = await FeatureCache.load(join(folder, 'features.safetensors'))
  rmSync(folder, { recursive: true })
  return features
}
