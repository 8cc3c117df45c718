/**
 * The models of the paper as the hub holds them, in small: the same files, names of tensors, dtypes, configs and quirks; weights are
 * hashes of their names, so that the same bytes come out each time.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { HubFile, HubRepository } from '../hub-server.js'
import { type ModelConfigJson, type TinyModelOptions, writeTinyModel } from '../tiny-models.js'

export const TOKENIZERS = join('test', 'data', 'files', 'tokenizers')
type Files = Record<string, HubFile>

const text = (content: string): HubFile => ({ content: Buffer.from(content) })
const json = (value: unknown): HubFile => text(`${JSON.stringify(value, null, 2)}\n`)
/** Formats that prudent does not read, large files on the hub. */
const other = (name: string): HubFile => ({ content: Buffer.from(`not read: ${name}`), lfs: true })

async function weights(config: ModelConfigJson, options: TinyModelOptions): Promise<Files> {
  const folder = await mkdtemp(join(tmpdir(), 'prudent-hub-model-'))
  try {
    await writeTinyModel(folder, config, options)
    const files: Files = {}
    for (const name of (await readdir(folder)).filter((entry) => entry !== 'config.json'))
      files[name] = { content: await readFile(join(folder, name)), lfs: name.endsWith('.safetensors') }
    return files
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function tokenizerFiles(name: string, changes: Record<string, unknown>): Promise<Files> {
  const read = (file: string) => readFile(join(TOKENIZERS, name, file))
  const config = JSON.parse((await read('tokenizer_config.json')).toString()) as Record<string, unknown>
  return {
    'tokenizer.json': { content: await read('tokenizer.json') },
    'tokenizer_config.json': json({ ...config, ...changes }),
  }
}

/**
 * openai-community/gpt2, which the hub also finds as `gpt2`: tensors without "transformer.", fused c_attn with weights [in, out],
 * tied embedding, the causal mask saved as a buffer, weights in six other formats beside.
 */
export async function gpt2(): Promise<HubRepository> {
  const config = {
    activation_function: 'gelu_new',
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0.1,
    bos_token_id: 0,
    embd_pdrop: 0.1,
    eos_token_id: 0,
    initializer_range: 0.02,
    layer_norm_epsilon: 1e-5,
    model_type: 'gpt2',
    n_ctx: 64,
    n_embd: 32,
    n_head: 4,
    n_layer: 2,
    n_positions: 64,
    resid_pdrop: 0.1,
    summary_activation: null,
    summary_first_dropout: 0.1,
    summary_proj_to_labels: true,
    summary_type: 'cls_index',
    summary_use_proj: true,
    task_specific_params: { 'text-generation': { do_sample: true, max_length: 50 } },
    vocab_size: 400,
  }
  const files = await weights(config, { task: 'causal-lm', names: 'bare' })
  const single = files['model.safetensors'] as HubFile
  const masks = Array.from({ length: config.n_layer }, (_, layer) => ({
    name: `h.${layer}.attn.bias`,
    shape: [1, 1, config.n_ctx, config.n_ctx],
  }))
  const formats = [
    '64-8bits.tflite',
    '64-fp16.tflite',
    '64.tflite',
    'flax_model.msgpack',
    'pytorch_model.bin',
    'rust_model.ot',
    'tf_model.h5',
  ]
  return {
    type: 'model',
    name: 'openai-community/gpt2',
    formerName: 'gpt2',
    commit: '607a30d783dfa663caf39e06633721c8d4cfcd7e',
    branch: 'main',
    files: {
      '.gitattributes': text('*.safetensors filter=lfs diff=lfs merge=lfs -text\n'),
      ...Object.fromEntries(formats.map((name) => [name, other(name)])),
      'README.md': text('---\nlanguage: en\nlicense: mit\n---\n# GPT-2\n'),
      'config.json': json(config),
      'generation_config.json': json({
        _from_model_config: true,
        bos_token_id: 0,
        eos_token_id: 0,
        transformers_version: '4.26.0.dev0',
      }),
      'merges.txt': text('#version: 0.2\n'),
      'model.safetensors': { content: withZeros(single.content, masks), lfs: true },
      'onnx/config.json': json(config),
      'onnx/decoder_model.onnx': other('decoder_model.onnx'),
      'vocab.json': text('{}'),
      ...(await tokenizerFiles('gpt2', { model_max_length: 64 })),
    },
  }
}

/** google/gemma-2b-it: gated, bf16 in two shards with an index, no lm_head (tied), head_dim apart from hidden / heads, one key-value head. */
export async function gemma2bIt(): Promise<HubRepository> {
  const config = {
    architectures: ['GemmaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 2,
    eos_token_id: 1,
    head_dim: 16,
    hidden_act: 'gelu',
    hidden_size: 24,
    initializer_range: 0.02,
    intermediate_size: 64,
    max_position_embeddings: 512,
    model_type: 'gemma',
    num_attention_heads: 2,
    num_hidden_layers: 2,
    num_key_value_heads: 1,
    pad_token_id: 0,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    rope_theta: 10000,
    torch_dtype: 'bfloat16',
    transformers_version: '4.38.0.dev0',
    use_cache: true,
    // The embedding has rows for tokens that the tokenizer does not know.
    vocab_size: 528,
  }
  return {
    type: 'model',
    name: 'google/gemma-2b-it',
    commit: '96988410cbdaeb8d5093d1ebdc5a8fb563e02bad',
    branch: 'main',
    token: 'hf_reader',
    gated: true,
    files: {
      '.gitattributes': text('*.safetensors filter=lfs diff=lfs merge=lfs -text\n'),
      'README.md': text('---\nlicense: gemma\nextra_gated_heading: Access Gemma on Hugging Face\n---\n'),
      'config.json': json(config),
      'gemma-2b-it.gguf': other('gemma-2b-it.gguf'),
      'generation_config.json': json({
        _from_model_config: true,
        bos_token_id: 2,
        eos_token_id: 1,
        pad_token_id: 0,
        transformers_version: '4.38.0.dev0',
      }),
      ...(await weights(config, { task: 'causal-lm', dtype: 'bfloat16', maxShardBytes: 36_000 })),
      'special_tokens_map.json': { content: await readFile(join(TOKENIZERS, 'gemma-hub', 'special_tokens_map.json')) },
      'tokenizer.model': other('tokenizer.model'),
      ...(await tokenizerFiles('gemma-hub', {})),
    },
  }
}

/** sfairXC/FsfairX-LLaMA3-RM-v0.1: a Llama-3 sequence classifier of one output, bf16 in four shards, its head in the last. */
export async function fsfairX(): Promise<HubRepository> {
  const config = {
    _name_or_path: 'meta-llama/Meta-Llama-3-8B-Instruct',
    architectures: ['LlamaForSequenceClassification'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 0,
    eos_token_id: 4,
    hidden_act: 'silu',
    hidden_size: 32,
    id2label: { 0: 'LABEL_0' },
    initializer_range: 0.02,
    intermediate_size: 48,
    label2id: { LABEL_0: 0 },
    max_position_embeddings: 512,
    model_type: 'llama',
    num_attention_heads: 4,
    num_hidden_layers: 2,
    num_key_value_heads: 2,
    pad_token_id: 1,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    rope_theta: 500000,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    transformers_version: '4.40.1',
    use_cache: true,
    vocab_size: 424,
  }
  const template = await readFile(join(TOKENIZERS, 'llama3', 'chat_template.jinja'), 'utf8')
  const names = { bos_token: '<|begin_of_text|>', eos_token: '<|eot_id|>', pad_token: '<|end_of_text|>' }
  return {
    type: 'model',
    name: 'sfairXC/FsfairX-LLaMA3-RM-v0.1',
    commit: '94fad49f1b3227aa8b566f415a335adb68ec544c',
    branch: 'main',
    files: {
      '.gitattributes': text('*.safetensors filter=lfs diff=lfs merge=lfs -text\n'),
      'README.md': text('---\nlicense: cc-by-nc-4.0\n---\n'),
      'config.json': json(config),
      ...(await weights(config, { task: 'sequence-classification', dtype: 'bfloat16', maxShardBytes: 13_000 })),
      'special_tokens_map.json': json(names),
      ...(await tokenizerFiles('llama3', { ...names, chat_template: template })),
    },
  }
}

/** A safetensors file with further tensors of float32 zeros behind those that it has. */
function withZeros(file: Buffer, tensors: readonly { name: string; shape: readonly number[] }[]): Buffer {
  const length = Number(file.readBigUInt64LE())
  const header = JSON.parse(file.subarray(8, 8 + length).toString()) as Record<string, unknown>
  const data = [file.subarray(8 + length)]
  let at = file.length - 8 - length
  for (const { name, shape } of tensors) {
    const bytes = 4 * shape.reduce((product, size) => product * size, 1)
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + bytes] }
    data.push(Buffer.alloc(bytes))
    at += bytes
  }
  const body = JSON.stringify(header)
  const padded = Buffer.from(body.padEnd(Math.ceil(body.length / 8) * 8))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([prefix, padded, ...data])
}
