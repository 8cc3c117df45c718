// A model of full size with random weights in bfloat16, in the exact layout of its hub repository: config.json, shards, index.
//   node scripts/full-size/make-model.mjs gemma-2b FOLDER [seed]
// It is written in a stream: memory does not depend on the model's size. The weights are N(0, 0.02^2) in 65536 steps; gains of norms
// are neutral.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ARCHITECTURES, itemsOf, tensorsOf } from './architectures.mjs'

const STD = 0.02
const CHUNK = 1 << 22 // items

/** The 16 bits of a number in bfloat16, rounded to nearest. */
function toBfloat16(value) {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Quantiles of the standard normal distribution (Acklam 2003, relative error below 1.2e-9). */
function normalQuantile(p) {
  const a = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239,
  ]
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572]
  const c = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ]
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416]
  const series = (coefficients, x) => coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0)
  if (p > 0.5) return -normalQuantile(1 - p)
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p))
    return series(c, q) / (series(d, q) * q + 1)
  }
  const [q, r] = [p - 0.5, (p - 0.5) ** 2]
  return (series(a, r) * q) / (series(b, r) * r + 1)
}

/** Fills `out` with entries of `table`, two from each number of a xorshift generator; gives back the generator's state. */
function fill(out, table, state) {
  for (let i = 0; i < out.length; i += 2) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    out[i] = table[state & 0xffff]
    out[i + 1] = table[state >>> 16]
  }
  return state
}

function divide(tensors, limit) {
  const shards = [[]]
  let bytes = 0
  for (const tensor of tensors) {
    const size = 2 * itemsOf(tensor[1])
    if (shards.at(-1).length > 0 && bytes + size > limit) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1).push(tensor)
    bytes += size
  }
  return shards
}

function headerOf(tensors) {
  const header = { __metadata__: { format: 'pt' } }
  let offset = 0
  for (const [name, shape] of tensors) {
    const bytes = 2 * itemsOf(shape)
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, offset + bytes] }
    offset += bytes
  }
  const text = JSON.stringify(header)
  const body = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(body.length))
  return Buffer.concat([length, body])
}

/** @returns the folder, which appears whole */
export async function makeModel(name, folder, seed = 1) {
  const known = ARCHITECTURES[name]
  if (known === undefined) throw new Error(`no model ${name}; there are ${Object.keys(ARCHITECTURES).join(', ')}`)
  const { config, shardBytes } = known
  const partial = `${folder}.${process.pid}.partial`
  mkdirSync(partial, { recursive: true })
  try {
    const table = Uint16Array.from({ length: 65536 }, (_, step) =>
      toBfloat16(STD * normalQuantile((step + 0.5) / 65536)),
    )
    const neutral = toBfloat16(config.model_type === 'gemma' ? 0 : 1) // Gemma's gains are 1 + weight
    const shards = divide(tensorsOf(config), shardBytes)
    const number = (value) => String(value).padStart(5, '0')
    const names = shards.map((_, shard) => `model-${number(shard + 1)}-of-${number(shards.length)}.safetensors`)
    const weightMap = {}
    let [total, state] = [0, Math.imul(seed + 1, 0x9e3779b1) | 1]
    const chunk = new Uint16Array(CHUNK)
    for (const [shard, tensors] of shards.entries()) {
      const file = await open(join(partial, names[shard]), 'wx')
      await file.write(headerOf(tensors))
      for (const [tensor, shape, isGain] of tensors) {
        weightMap[tensor] = names[shard]
        let left = itemsOf(shape)
        total += 2 * left
        while (left > 0) {
          const part = chunk.subarray(0, Math.min(left, CHUNK))
          if (isGain) part.fill(neutral)
          else state = fill(part, table, state)
          const bytes = new Uint8Array(part.buffer, 0, part.byteLength)
          for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
          left -= part.length
        }
      }
      await file.sync()
      await file.close()
    }
    const index = { metadata: { total_size: total }, weight_map: weightMap }
    writeFileSync(join(partial, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`)
    writeFileSync(join(partial, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
    renameSync(partial, folder)
  } catch (error) {
    rmSync(partial, { recursive: true, force: true })
    throw error
  }
  return folder
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [name, folder, seed] = process.argv.slice(2)
  if (folder === undefined) {
    process.stderr.write('usage: node scripts/full-size/make-model.mjs MODEL FOLDER [SEED]\n')
    process.exit(2)
  }
  const begun = performance.now()
  await makeModel(name, folder, Number(seed ?? 1))
  process.stdout.write(`${folder} ${((performance.now() - begun) / 1000).toFixed(1)} s\n`)
}
