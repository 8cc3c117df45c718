import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PrudentError } from '../errors.js'

/** Names of the special tokens that tokenizer_config.json and special_tokens_map.json may give. */
export const SPECIAL_TOKEN_NAMES = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const
/** One of these names. */
export type SpecialTokenName = (typeof SPECIAL_TOKEN_NAMES)[number]

export interface AddedTokenEntry {
  id?: number
  content: string
  special: boolean
  single_word: boolean
  lstrip: boolean
  rstrip: boolean
  normalized: boolean
}

export type JsonObject = Record<string, unknown>

export interface TokenizerFiles {
  /** tokenizer.json, ready for the tokenizers library. */
  backend: JsonObject
  config: JsonObject
  specialTokens: Partial<Record<SpecialTokenName, string>>
  /** Tokens that the library must know beyond those of `backend`, in the order transformers adds them. */
  tokensToAdd: AddedTokenEntry[]
}

/**
 * Reads tokenizer.json, tokenizer_config.json and special_tokens_map.json and settles their differences as transformers 5
 * does: add_bos_token and add_eos_token are ignored where tokenizer.json exists (its post-processor decides), padding and
 * truncation of the file are off, GPT-2, Gemma and Llama classes rebuild their pipeline from the vocabulary, and special
 * tokens that tokenizer.json lacks are added behind it.
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const backend = await readJsonFile(join(folder, 'tokenizer.json'))
  if (backend === null) {
    throw new PrudentError(
      'E_NOT_FOUND',
      `${folder}: no tokenizer.json; save the tokenizer in its fast form (save_pretrained)`,
    )
  }
  if (!isObject(backend.model))
    throw new PrudentError('E_CORRUPT_FILE', `${join(folder, 'tokenizer.json')}: no "model" object`)
  const config = (await readJsonFile(join(folder, 'tokenizer_config.json'))) ?? {}
  const modelConfig = (await readJsonFile(join(folder, 'config.json'))) ?? {}
  const specialTokensMap = (await readJsonFile(join(folder, 'special_tokens_map.json'))) ?? {}
  if (config.split_special_tokens === true) {
    throw new PrudentError(
      'E_UNSUPPORTED',
      `${join(folder, 'tokenizer_config.json')}: split_special_tokens is not supported`,
    )
  }
  const rebuilt = rebuildBackend(backend, tokenizerClass(backend, config, modelConfig), config)
  const declared = declaredTokens(config, backend)
  // transformers reads special_tokens_map.json only where the config does not list its added tokens.
  const named = { ...rebuilt.defaults, ...config, ...('added_tokens_decoder' in config ? {} : specialTokensMap) }
  const specialTokens: Partial<Record<SpecialTokenName, string>> = {}
  for (const name of SPECIAL_TOKEN_NAMES) {
    const content = tokenContent(named[name])
    if (content !== null) specialTokens[name] = content
  }
  const known = new Map((rebuilt.backend.added_tokens as AddedTokenEntry[]).map((token) => [token.content, token]))
  const tokensToAdd = declared.filter((token) => !sameToken(known.get(token.content), token))
  const present = new Set([...known.keys(), ...tokensToAdd.map((token) => token.content)])
  for (const value of [...SPECIAL_TOKEN_NAMES.map((name) => named[name]), ...extraTokens(named)]) {
    const content = tokenContent(value)
    if (content === null || present.has(content)) continue
    present.add(content)
    tokensToAdd.push(addedToken(isObject(value) ? { ...value, special: true } : { content, special: true }))
  }
  return { backend: { ...rebuilt.backend, truncation: null, padding: null }, config, specialTokens, tokensToAdd }
}

/** A JSON object from a file, or null where the file does not exist. */
export async function readJsonFile(path: string): Promise<JsonObject | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new PrudentError('E_IO', `${path}: ${(cause as Error).message}`, { cause })
  }
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
    if (isObject(value)) return value
  } catch (cause) {
    const { message } = cause as Error
    throw new PrudentError('E_CORRUPT_FILE', `${path}${lineOf(message, text)}: not JSON: ${message}`, { cause })
  }
  throw new PrudentError('E_CORRUPT_FILE', `${path}: expected a JSON object`)
}

/** `:3` for the line that V8's message means; nothing where it gives no position. */
function lineOf(message: string, text: string): string {
  const position = message.endsWith('end of JSON input') ? text.length : / at position (\d+)/.exec(message)?.[1]
  return position === undefined ? '' : `:${text.slice(0, Number(position)).split('\n').length}`
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function tokenizerClass(backend: JsonObject, config: JsonObject, modelConfig: JsonObject): string {
  const ofModel: Record<string, string> = { gpt2: 'GPT2Tokenizer', gemma: 'GemmaTokenizer' }
  const declared =
    config.tokenizer_class ?? modelConfig.tokenizer_class ?? ofModel[String(modelConfig.model_type)] ?? ''
  const name = String(declared).replace(/Fast$/, '')
  // Llama 3 repositories that name the Llama 2 class hold a byte-level tokenizer: the class is ignored there.
  return name === 'LlamaTokenizer' && hasByteLevel(backend) ? 'TokenizersBackend' : name
}

function hasByteLevel(backend: JsonObject): boolean {
  return JSON.stringify([backend.pre_tokenizer, backend.decoder]).includes('"ByteLevel"')
}

/** transformers' classes of these names take the vocabulary and merges of tokenizer.json and build the rest themselves. */
function rebuildBackend(
  backend: JsonObject,
  className: string,
  config: JsonObject,
): { backend: JsonObject; defaults: Partial<Record<SpecialTokenName, string>> } {
  const model = backend.model as JsonObject
  const base = { ...backend, added_tokens: Array.isArray(backend.added_tokens) ? backend.added_tokens : [] }
  if (model.type !== 'BPE' && 'type' in model) return { backend: base, defaults: {} }
  const rules = REBUILT_CLASSES[className]
  if (rules === undefined) return { backend: base, defaults: {} }
  const parts = rules(config)
  const bare = { type: 'BPE', vocab: model.vocab, merges: model.merges ?? [], dropout: null, ignore_merges: false }
  const neutral = { unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null }
  return {
    backend: { ...base, ...parts.pipeline, model: { ...bare, ...neutral, ...parts.model } },
    defaults: parts.defaults,
  }
}

type Rules = (config: JsonObject) => {
  pipeline: JsonObject
  model: JsonObject
  defaults: Partial<Record<SpecialTokenName, string>>
}

const REPLACE_SPACES = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
const RESTORE_SPACES = { type: 'Replace', pattern: { String: '▁' }, content: ' ' }

const REBUILT_CLASSES: Record<string, Rules> = {
  GPT2Tokenizer: (config) => ({
    pipeline: {
      normalizer: null,
      pre_tokenizer: {
        type: 'ByteLevel',
        add_prefix_space: config.add_prefix_space === true,
        trim_offsets: true,
        use_regex: true,
      },
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
    model: { fuse_unk: false, byte_fallback: false, continuing_subword_prefix: '', end_of_word_suffix: '' },
    defaults: { unk_token: '<|endoftext|>', bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
  }),
  GemmaTokenizer: (config) => ({
    pipeline: {
      normalizer: REPLACE_SPACES,
      pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
      decoder: { type: 'Sequence', decoders: [RESTORE_SPACES, { type: 'ByteFallback' }, { type: 'Fuse' }] },
    },
    model: { fuse_unk: true, byte_fallback: true, unk_token: tokenContent(config.unk_token) ?? '<unk>' },
    defaults: {
      unk_token: '<unk>',
      bos_token: '<bos>',
      eos_token: '<eos>',
      pad_token: '<pad>',
      mask_token: '<mask>',
    },
  }),
  LlamaTokenizer: (config) => {
    const prefix = config.add_prefix_space !== false
    const scheme = !prefix ? 'never' : config.legacy === true ? 'always' : 'first'
    const strip = prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []
    return {
      pipeline: {
        normalizer: null,
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: scheme, split: false },
        decoder: { type: 'Sequence', decoders: [RESTORE_SPACES, { type: 'ByteFallback' }, { type: 'Fuse' }, ...strip] },
      },
      model: { fuse_unk: true, byte_fallback: true },
      defaults: { unk_token: '<unk>', bos_token: '<s>', eos_token: '</s>' },
    }
  },
}

/** added_tokens_decoder of the config (id order), else what tokenizer.json lists itself. */
function declaredTokens(config: JsonObject, backend: JsonObject): AddedTokenEntry[] {
  if (isObject(config.added_tokens_decoder)) {
    const entries = Object.entries(config.added_tokens_decoder).sort(([a], [b]) => Number(a) - Number(b))
    return entries.flatMap(([, value]) => (isObject(value) ? [addedToken(value)] : []))
  }
  return Array.isArray(backend.added_tokens) ? backend.added_tokens.filter(isObject).map(addedToken) : []
}

function addedToken(entry: JsonObject): AddedTokenEntry {
  const special = entry.special === true
  return {
    content: String(entry.content),
    special,
    single_word: entry.single_word === true,
    lstrip: entry.lstrip === true,
    rstrip: entry.rstrip === true,
    normalized: typeof entry.normalized === 'boolean' ? entry.normalized : !special,
  }
}

function sameToken(known: AddedTokenEntry | undefined, token: AddedTokenEntry): boolean {
  return (
    known !== undefined && (Object.keys(token) as (keyof AddedTokenEntry)[]).every((key) => known[key] === token[key])
  )
}

function tokenContent(value: unknown): string | null {
  if (typeof value === 'string') return value
  return isObject(value) && typeof value.content === 'string' ? value.content : null
}

function extraTokens(named: JsonObject): unknown[] {
  const extra = named.extra_special_tokens ?? named.additional_special_tokens
  if (Array.isArray(extra)) return extra
  return isObject(extra) ? Object.values(extra) : []
}
