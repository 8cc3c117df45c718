// Models of the benches: Hugging Face folders with seeded random weights, made once into the cache.
import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../../scripts/setup/folders.mjs'
import { Random } from './random.mjs'

const SPECIAL = { bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 }

/** Gemma's shape (one key/value head, head_dim 256, gated feed-forward) at a chosen size, with reward heads. */
function gemma({ layers, hidden, intermediate, heads, headDim, vocab, positions, labels }) {
  return {
    architectures: ['GemmaForSequenceClassification'],
    model_type: 'gemma',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: 1,
    head_dim: headDim,
    hidden_act: 'gelu_pytorch_tanh',
    hidden_activation: 'gelu_pytorch_tanh',
    vocab_size: vocab,
    max_position_embeddings: positions,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    attention_bias: false,
    attention_dropout: 0,
    ...SPECIAL,
    ...labelNames(labels),
  }
}

function labelNames(labels) {
  const names = Array.from({ length: labels }, (_, label) => `LABEL_${label}`)
  return { id2label: { ...names }, label2id: Object.fromEntries(names.map((name, label) => [name, label])) }
}

function gpt2({ layers, hidden, heads, vocab, positions }) {
  return {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    n_embd: hidden,
    n_layer: layers,
    n_head: heads,
    n_positions: positions,
    n_ctx: positions,
    vocab_size: vocab,
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
    bos_token_id: vocab - 1,
    eos_token_id: vocab - 1,
  }
}

const GEMMA_150M = {
  layers: 12,
  hidden: 768,
  intermediate: 4096,
  heads: 3,
  headDim: 256,
  vocab: 32000,
  positions: 8192,
}
const GEMMA_TINY = { layers: 2, hidden: 48, intermediate: 96, heads: 3, headDim: 32, vocab: 512, positions: 2048 }

export const CONFIGS = {
  'gemma-150m-10-heads': gemma({ ...GEMMA_150M, labels: 10 }),
  'gemma-150m-1-head': gemma({ ...GEMMA_150M, labels: 1 }),
  'gemma-tiny-10-heads': gemma({ ...GEMMA_TINY, labels: 10 }),
  'gemma-tiny-1-head': gemma({ ...GEMMA_TINY, labels: 1 }),
  'gpt2-124m': gpt2({ layers: 12, hidden: 768, heads: 12, vocab: 50257, positions: 1024 }),
  'gpt2-tiny': gpt2({ layers: 2, hidden: 48, heads: 3, vocab: 512, positions: 128 }),
}

function gemmaTensors(config) {
  const { hidden_size: hidden, intermediate_size: inner, num_attention_heads: heads, head_dim: dim } = config
  const tensors = [['model.embed_tokens.weight', [config.vocab_size, hidden]]]
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`
    tensors.push(
      [`${at}.input_layernorm.weight`, [hidden]],
      [`${at}.self_attn.q_proj.weight`, [heads * dim, hidden]],
      [`${at}.self_attn.k_proj.weight`, [dim, hidden]],
      [`${at}.self_attn.v_proj.weight`, [dim, hidden]],
      [`${at}.self_attn.o_proj.weight`, [hidden, heads * dim]],
      [`${at}.post_attention_layernorm.weight`, [hidden]],
      [`${at}.mlp.gate_proj.weight`, [inner, hidden]],
      [`${at}.mlp.up_proj.weight`, [inner, hidden]],
      [`${at}.mlp.down_proj.weight`, [hidden, inner]],
    )
  }
  const labels = Object.keys(config.id2label).length
  return [...tensors, ['model.norm.weight', [hidden]], ['score.weight', [labels, hidden]]]
}

/** With a value head of TRL's names, so that every side starts PPO from the same one. */
function gpt2Tensors(config) {
  const { n_embd: width } = config
  const tensors = [
    ['transformer.wte.weight', [config.vocab_size, width]],
    ['transformer.wpe.weight', [config.n_positions, width]],
  ]
  for (let layer = 0; layer < config.n_layer; layer++) {
    const at = `transformer.h.${layer}`
    tensors.push([`${at}.ln_1.weight`, [width], 1], [`${at}.ln_1.bias`, [width]])
    tensors.push([`${at}.attn.c_attn.weight`, [width, 3 * width]], [`${at}.attn.c_attn.bias`, [3 * width]])
    tensors.push([`${at}.attn.c_proj.weight`, [width, width]], [`${at}.attn.c_proj.bias`, [width]])
    tensors.push([`${at}.ln_2.weight`, [width], 1], [`${at}.ln_2.bias`, [width]])
    tensors.push([`${at}.mlp.c_fc.weight`, [width, 4 * width]], [`${at}.mlp.c_fc.bias`, [4 * width]])
    tensors.push([`${at}.mlp.c_proj.weight`, [4 * width, width]], [`${at}.mlp.c_proj.bias`, [width]])
  }
  tensors.push(['transformer.ln_f.weight', [width], 1], ['transformer.ln_f.bias', [width]])
  return [...tensors, ['v_head.summary.weight', [1, width]], ['v_head.summary.bias', [1]]]
}

/** Tensors of a configuration: [name, shape, mean]. */
export function tensorsOf(config) {
  return config.model_type === 'gpt2' ? gpt2Tensors(config) : gemmaTensors(config)
}

const STANDARD_DEVIATION = 0.02
const BYTE_SUM_MEAN = 510
const BYTE_SUM_DEVIATION = Math.sqrt((4 * (256 ** 2 - 1)) / 12)

/** Nearly normal: the sum of four random bytes, scaled, rounded to bfloat16, so that files of both dtypes hold the same numbers. */
function bfloat16Table(mean) {
  const table = new Uint16Array(1021)
  const value = new Float32Array(1)
  const bits = new Uint32Array(value.buffer)
  for (let sum = 0; sum < table.length; sum++) {
    value[0] = mean + ((sum - BYTE_SUM_MEAN) / BYTE_SUM_DEVIATION) * STANDARD_DEVIATION
    table[sum] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16
  }
  return table
}

function fillTensor(random, count, mean, dtype) {
  const table = bfloat16Table(mean)
  const wide = dtype === 'float32'
  const values = wide ? new Uint32Array(count) : new Uint16Array(count)
  for (let i = 0; i < count; i++) {
    const bytes = random.uint32()
    const half = table[(bytes & 255) + ((bytes >>> 8) & 255) + ((bytes >>> 16) & 255) + (bytes >>> 24)]
    values[i] = wide ? half << 16 : half
  }
  return new Uint8Array(values.buffer)
}

function writeSafetensors(file, tensors, dtype, seed) {
  const width = dtype === 'float32' ? 4 : 2
  const header = { __metadata__: { format: 'pt' } }
  let at = 0
  for (const [name, shape] of tensors) {
    const bytes = width * shape.reduce((product, size) => product * size, 1)
    header[name] = { dtype: dtype === 'float32' ? 'F32' : 'BF16', shape, data_offsets: [at, at + bytes] }
    at += bytes
  }
  const text = JSON.stringify(header)
  const padded = text.padEnd(Math.ceil(text.length / 8) * 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  const output = openSync(file, 'w')
  writeSync(output, length)
  writeSync(output, padded)
  const random = new Random(seed)
  for (const [, shape, mean = 0] of tensors) {
    const data = fillTensor(
      random,
      shape.reduce((product, size) => product * size, 1),
      mean,
      dtype,
    )
    for (let written = 0; written < data.length; ) written += writeSync(output, data, written)
  }
  closeSync(output)
}

export function writeModel(folder, config, dtype = 'float32', seed = 1) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify({ ...config, torch_dtype: dtype }, null, 2)}\n`)
  writeSafetensors(join(folder, 'model.safetensors'), tensorsOf(config), dtype, seed)
}

/** The folder of a model of CONFIGS in the cache; made when it is not there yet. */
export function modelFolder(name, { dtype = 'float32', say = () => {} } = {}) {
  const config = CONFIGS[name]
  const print = createHash('sha256')
    .update(JSON.stringify([config, tensorsOf(config), dtype, STANDARD_DEVIATION]))
    .digest('hex')
    .slice(0, 8)
  const folder = join(cacheFolder(), 'bench-models', `${name}-${dtype}-${print}`)
  if (existsSync(folder)) return folder
  say(`making the random weights of ${name} (${dtype}) in ${folder}`)
  const partial = `${folder}.${process.pid}.partial`
  rmSync(partial, { recursive: true, force: true })
  writeModel(partial, config, dtype)
  renameSync(partial, folder)
  return folder
}

export function parameterCount(config) {
  return tensorsOf(config).reduce((sum, [, shape]) => sum + shape.reduce((product, size) => product * size, 1), 0)
}
