import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Members of a config.json. */
export type ModelConfigJson = Readonly<Record<string, unknown>>

export interface TinyModelOptions {
  task: 'causal-lm' | 'sequence-classification'
  dtype?: 'float32' | 'bfloat16'
  /** `bare`: without the base model's prefix ("transformer.", "model."), as the first GPT-2 files on the hub. */
  names?: 'prefixed' | 'bare'
  /** Tensors are divided into shards of at most this many bytes, named by an index. */
  maxShardBytes?: number
}

interface Tensor {
  name: string
  shape: number[]
}

/**
 * Write a Hugging Face folder whose weights are a hash of their names: the models of test/golden/tiny_models.py. Every value
 * has at most 8 significant bits, so float32 and bfloat16 files hold the same numbers.
 */
export async function writeTinyModel(
  folder: string,
  config: ModelConfigJson,
  options: TinyModelOptions,
): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  const prefix = config.model_type === 'gpt2' ? 'transformer.' : 'model.'
  const tensors = parametersOf(config, options.task).map(({ name, shape }) => ({
    name: options.names === 'bare' && name.startsWith(prefix) ? name.slice(prefix.length) : name,
    shape,
    data: encode(tinyValues(name, count(shape), String(config.model_type)), options.dtype ?? 'float32'),
  }))
  const shards = divide(tensors, options.maxShardBytes ?? Number.POSITIVE_INFINITY)
  if (shards.length === 1) {
    await writeFile(join(folder, 'model.safetensors'), safetensors(tensors, options.dtype ?? 'float32'))
    return
  }
  const weightMap: Record<string, string> = {}
  for (const [index, shard] of shards.entries()) {
    const file = `model-${String(index + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`
    await writeFile(join(folder, file), safetensors(shard, options.dtype ?? 'float32'))
    for (const { name } of shard) weightMap[name] = file
  }
  const total = tensors.reduce((sum, { data }) => sum + data.byteLength, 0)
  const index = JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap })
  await writeFile(join(folder, 'model.safetensors.index.json'), index)
}

/** k / 256 with k an integer in [-64, 64); gains of norms k / 128, around 1 (Gemma's, which are offsets from 1: around 0). */
export function tinyValues(name: string, length: number, modelType: string): Float32Array {
  const gain = /(norm|ln_1|ln_2|ln_f)\.weight$/.test(name)
  const offset = gain && modelType !== 'gemma' ? 1 : 0
  const scale = gain ? 128 : 256
  return hashUniform(name, length).map((value) => Math.floor(value * 64) / scale + offset)
}

/** Values in [-1, 1): splitmix64 over FNV-1a of the label, 24 bits each. */
function hashUniform(label: string, length: number): Float32Array {
  const wrap = (value: bigint) => BigInt.asUintN(64, value)
  let state = 0xcbf29ce484222325n
  for (const byte of Buffer.from(label)) state = wrap((state ^ BigInt(byte)) * 0x100000001b3n)
  const values = new Float32Array(length)
  for (let i = 0; i < length; i++) {
    state = wrap(state + 0x9e3779b97f4a7c15n)
    let z = wrap((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = wrap((z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    z ^= z >> 31n
    values[i] = Number(z >> 40n) / 2 ** 23 - 1
  }
  return values
}

function parametersOf(config: ModelConfigJson, task: TinyModelOptions['task']): Tensor[] {
  const width = number(config, config.model_type === 'gpt2' ? 'n_embd' : 'hidden_size')
  const body = config.model_type === 'gpt2' ? gpt2Parameters(config, width) : rotaryParameters(config, width)
  if (task === 'sequence-classification') {
    return [...body, { name: 'score.weight', shape: [Object.keys(config.id2label as object).length, width] }]
  }
  const tied = config.tie_word_embeddings ?? config.model_type !== 'llama'
  return tied ? body : [...body, { name: 'lm_head.weight', shape: [number(config, 'vocab_size'), width] }]
}

function gpt2Parameters(config: ModelConfigJson, width: number): Tensor[] {
  const inner = number(config, 'n_inner', 4 * width)
  const affine = (name: string, ...shape: number[]) => [
    { name: `${name}.weight`, shape },
    { name: `${name}.bias`, shape: shape.slice(-1) },
  ]
  return [
    { name: 'transformer.wte.weight', shape: [number(config, 'vocab_size'), width] },
    { name: 'transformer.wpe.weight', shape: [number(config, 'n_positions'), width] },
    ...repeat(number(config, 'n_layer'), (layer) => [
      ...affine(`transformer.h.${layer}.ln_1`, width),
      ...affine(`transformer.h.${layer}.attn.c_attn`, width, 3 * width),
      ...affine(`transformer.h.${layer}.attn.c_proj`, width, width),
      ...affine(`transformer.h.${layer}.ln_2`, width),
      ...affine(`transformer.h.${layer}.mlp.c_fc`, width, inner),
      ...affine(`transformer.h.${layer}.mlp.c_proj`, inner, width),
    ]),
    ...affine('transformer.ln_f', width),
  ]
}

function rotaryParameters(config: ModelConfigJson, width: number): Tensor[] {
  const heads = number(config, 'num_attention_heads')
  const headDim = number(config, 'head_dim', width / heads)
  const keys = number(config, 'num_key_value_heads', heads) * headDim
  const inner = number(config, 'intermediate_size')
  const linear = (name: string, out: number, input: number, bias: unknown) => [
    { name: `${name}.weight`, shape: [out, input] },
    ...(bias ? [{ name: `${name}.bias`, shape: [out] }] : []),
  ]
  return [
    { name: 'model.embed_tokens.weight', shape: [number(config, 'vocab_size'), width] },
    ...repeat(number(config, 'num_hidden_layers'), (layer) => {
      const [attention, mlp] = [`model.layers.${layer}.self_attn`, `model.layers.${layer}.mlp`]
      return [
        ...linear(`${attention}.q_proj`, heads * headDim, width, config.attention_bias),
        ...linear(`${attention}.k_proj`, keys, width, config.attention_bias),
        ...linear(`${attention}.v_proj`, keys, width, config.attention_bias),
        ...linear(`${attention}.o_proj`, width, heads * headDim, config.attention_bias),
        ...linear(`${mlp}.gate_proj`, inner, width, config.mlp_bias),
        ...linear(`${mlp}.up_proj`, inner, width, config.mlp_bias),
        ...linear(`${mlp}.down_proj`, width, inner, config.mlp_bias),
        { name: `model.layers.${layer}.input_layernorm.weight`, shape: [width] },
        { name: `model.layers.${layer}.post_attention_layernorm.weight`, shape: [width] },
      ]
    }),
    { name: 'model.norm.weight', shape: [width] },
  ]
}

function repeat(times: number, make: (index: number) => Tensor[]): Tensor[] {
  return Array.from({ length: times }, (_, index) => make(index)).flat()
}

function number(config: ModelConfigJson, key: string, fallback?: number): number {
  const value = config[key] ?? fallback
  if (typeof value !== 'number') throw new Error(`the config of a tiny model needs ${key}`)
  return value
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/** Little-endian bytes; bfloat16 is the upper half of a float32, exact for these values. */
function encode(values: Float32Array, dtype: 'float32' | 'bfloat16'): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  if (dtype === 'float32') return bytes
  return Buffer.from(bytes.filter((_, index) => index % 4 >= 2))
}

function divide<T extends { data: Buffer }>(tensors: readonly T[], limit: number): T[][] {
  const shards: T[][] = [[]]
  let bytes = 0
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + tensor.data.byteLength > limit) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1)?.push(tensor)
    bytes += tensor.data.byteLength
  }
  return shards
}

function safetensors(tensors: readonly (Tensor & { data: Buffer })[], dtype: 'float32' | 'bfloat16'): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  let offset = 0
  for (const { name, shape, data } of tensors) {
    const end = offset + data.byteLength
    header[name] = { dtype: dtype === 'float32' ? 'F32' : 'BF16', shape, data_offsets: [offset, end] }
    offset = end
  }
  const json = JSON.stringify(header)
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, ...tensors.map(({ data }) => data)])
}
