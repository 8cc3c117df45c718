import type { Tokenizer as Backend, Encoding } from 'tokenizers'
import { describe, toWholeNumbers } from '../addon/rows.js'
import { argumentError, PrudentError } from '../errors.js'
import { type ChatTemplate, loadChatTemplate } from './chat-template.js'
import { type JsonObject, readTokenizerFiles, type SpecialTokenName } from './tokenizer-files.js'

/** Texts encoded in one call of the library; more at once costs memory and gains nothing. */
const ENCODE_CHUNK = 256

/** How texts become ids. */
export interface EncodeOptions {
  /** Add what the post-processor adds (BOS and the like); default true, as in transformers. */
  addSpecialTokens?: boolean
  /** Cut to this many tokens, added special tokens included. */
  maxLength?: number
  /** The side that loses tokens; default left, so that the end of the conversation stays. */
  truncate?: 'left' | 'right'
}

/**
 * A Hugging Face tokenizer folder; ids are those of transformers for the same files.
 *
 * @example
 * ```ts
 * import { Tokenizer } from 'prudent'
 *
 * const tokenizer = await Tokenizer.load('reward-model')
 * const ids = await tokenizer.encode('a good answer')
 * console.log(ids[0] === tokenizer.bosTokenId) // true
 * console.log(await tokenizer.decode(ids, { skipSpecialTokens: true })) // a good answer
 * // The end of a text that is too long stays.
 * console.log((await tokenizer.encode('a good answer', { maxLength: 2 })).length) // 2
 * ```
 */
export class Tokenizer {
  /** Where it was loaded from. */
  readonly folder: string
  /** null where the folder has none. */
  readonly chatTemplate: ChatTemplate | null
  /** Content of the named special tokens, e.g. `specialTokens.bos_token`. */
  readonly specialTokens: Readonly<Partial<Record<SpecialTokenName, string>>>
  readonly #backend: Backend
  readonly #cleanUpSpaces: boolean
  /** Ids that the post-processor puts before and after a text. */
  readonly #prefix: readonly number[]
  readonly #suffix: readonly number[]

  private constructor(folder: string, backend: Backend, parts: LoadedParts) {
    this.folder = folder
    this.#backend = backend
    this.specialTokens = parts.specialTokens
    this.chatTemplate = parts.chatTemplate
    this.#cleanUpSpaces = parts.cleanUpSpaces
    this.#prefix = parts.prefix
    this.#suffix = parts.suffix
  }

  /** @throws E_NOT_FOUND, E_CORRUPT_FILE, E_UNSUPPORTED naming the file */
  static async load(folder: string): Promise<Tokenizer> {
    if (typeof folder !== 'string') throw argumentError('E_TYPE', 'folder', 'a string', describe(folder))
    const files = await readTokenizerFiles(folder)
    const chatTemplate = await loadChatTemplate(folder, files.config)
    // The library reads this when it first encodes a batch.
    process.env.TOKENIZERS_PARALLELISM ??= 'true'
    const { AddedToken, Tokenizer: Library } = await import('tokenizers')
    let backend: Backend
    try {
      backend = Library.fromString(JSON.stringify(files.backend))
    } catch (cause) {
      throw new PrudentError('E_CORRUPT_FILE', `${folder}/tokenizer.json: ${(cause as Error).message}`, { cause })
    }
    const added = files.tokensToAdd.map(
      (token) =>
        new AddedToken(token.content, token.special, {
          singleWord: token.single_word,
          leftStrip: token.lstrip,
          rightStrip: token.rstrip,
          normalized: token.normalized,
        }),
    )
    if (added.length > 0) backend.addAddedTokens(added)
    const cleanUpSpaces = cleansUpSpaces(files.config, files.backend)
    const { specialTokens } = files
    return new Tokenizer(folder, backend, {
      specialTokens,
      chatTemplate,
      cleanUpSpaces,
      ...(await addedAround(backend)),
    })
  }

  /** Text of the token that begins texts. */
  get bosToken(): string | null {
    return this.specialTokens.bos_token ?? null
  }
  /** Text of the token that ends texts. */
  get eosToken(): string | null {
    return this.specialTokens.eos_token ?? null
  }
  /** null where the folder names none; so are the next three. */
  get bosTokenId(): number | null {
    return this.#idOf('bos_token')
  }
  /** Of `eosToken`. */
  get eosTokenId(): number | null {
    return this.#idOf('eos_token')
  }
  /** Of the token that fills rows up. */
  get padTokenId(): number | null {
    return this.#idOf('pad_token')
  }
  /** Of the token for what the vocabulary lacks. */
  get unkTokenId(): number | null {
    return this.#idOf('unk_token')
  }
  /** Number of tokens, added ones included. */
  get vocabSize(): number {
    return this.#backend.getVocabSize(true)
  }
  /** Whether `encode` puts the BOS token first by itself. */
  get addsBos(): boolean {
    const bos = this.bosTokenId
    return bos !== null && this.#prefix.includes(bos)
  }

  /** null for what is no token. */
  tokenToId(token: string): number | null {
    return typeof token === 'string' ? this.#backend.tokenToId(token) : null
  }
  /** null for what is no id. */
  idToToken(id: number): string | null {
    return Number.isInteger(id) && id >= 0 && id < 2 ** 32 ? this.#backend.idToToken(id) : null
  }

  /**
   * Token ids of one text, [tokens].
   * @throws E_RANGE when `maxLength` leaves no room for the special tokens; E_TYPE
   */
  async encode(text: string, options?: EncodeOptions): Promise<Int32Array> {
    const [ids] = await this.encodeBatch([text], options)
    return ids as Int32Array
  }

  /** Token ids of every text, in order. */
  async encodeBatch(texts: readonly string[], options?: EncodeOptions): Promise<Int32Array[]> {
    checkTexts(texts)
    const { addSpecialTokens = true, maxLength } = checkOptions(options ?? {})
    const rows: Int32Array[] = []
    for (let start = 0; start < texts.length; start += ENCODE_CHUNK) {
      const encodings: Encoding[] = await this.#backend.encodeBatch(texts.slice(start, start + ENCODE_CHUNK), {
        addSpecialTokens,
      })
      for (const encoding of encodings) {
        const ids = Int32Array.from(encoding.getIds())
        rows.push(maxLength === undefined ? ids : this.truncate(ids, maxLength, options))
      }
    }
    return rows
  }

  /** Cuts ids made by `encode` with the same options; added special tokens stay where they are, as in transformers. */
  truncate(ids: Int32Array, maxLength: number, options: EncodeOptions = {}): Int32Array {
    if (ids.length <= maxLength) return ids
    const added = options.addSpecialTokens ?? true
    const prefix = added ? this.#prefix.length : 0
    const suffix = added ? this.#suffix.length : 0
    const room = maxLength - prefix - suffix
    if (room < 0) {
      const expected = `at least ${prefix + suffix}, the number of special tokens that the tokenizer adds`
      throw new PrudentError('E_RANGE', `maxLength: expected ${expected}, received ${maxLength}`, {
        argument: 'maxLength',
      })
    }
    const end = ids.length - suffix
    const start = (options.truncate ?? 'left') === 'left' ? end - room : prefix
    return Int32Array.from([...ids.subarray(0, prefix), ...ids.subarray(start, start + room), ...ids.subarray(end)])
  }

  /** Text of one row of ids. */
  async decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): Promise<string> {
    const [text] = await this.decodeBatch([ids], options)
    return text as string
  }

  /** Text of every row, in order. */
  async decodeBatch(rows: readonly ArrayLike<number>[], options?: { skipSpecialTokens?: boolean }): Promise<string[]> {
    if (!Array.isArray(rows)) throw argumentError('E_TYPE', 'rows', 'an array of rows of token ids', describe(rows))
    const lists = rows.map((row, index) => Array.from(toWholeNumbers(row, `rows[${index}]`)))
    const texts = await this.#backend.decodeBatch(lists, options?.skipSpecialTokens === true)
    return this.#cleanUpSpaces ? texts.map(cleanUpSpaces) : texts
  }

  #idOf(name: SpecialTokenName): number | null {
    const content = this.specialTokens[name]
    return content === undefined ? null : this.#backend.tokenToId(content)
  }
}

function checkTexts(texts: unknown): void {
  if (!Array.isArray(texts)) throw argumentError('E_TYPE', 'texts', 'an array of strings', describe(texts))
  const wrong = texts.findIndex((text) => typeof text !== 'string')
  if (wrong >= 0) throw argumentError('E_TYPE', `texts[${wrong}]`, 'a string', describe(texts[wrong]))
}

function checkOptions(options: EncodeOptions): EncodeOptions {
  const { addSpecialTokens = true, maxLength = 0, truncate = 'left' } = options
  if (typeof addSpecialTokens !== 'boolean')
    throw argumentError('E_TYPE', 'addSpecialTokens', 'true or false', describe(addSpecialTokens))
  if (!Number.isInteger(maxLength)) throw argumentError('E_RANGE', 'maxLength', 'a whole number', describe(maxLength))
  if (truncate !== 'left' && truncate !== 'right')
    throw argumentError('E_RANGE', 'truncate', 'left or right', describe(truncate))
  return options
}

interface LoadedParts {
  specialTokens: Partial<Record<SpecialTokenName, string>>
  chatTemplate: ChatTemplate | null
  cleanUpSpaces: boolean
  prefix: number[]
  suffix: number[]
}

/** transformers cleans up decoded spaces where the config asks for it, but never for BPE. */
function cleansUpSpaces(config: JsonObject, backend: JsonObject): boolean {
  return config.clean_up_tokenization_spaces === true && (backend.model as JsonObject).type !== 'BPE'
}

async function addedAround(backend: Backend): Promise<{ prefix: number[]; suffix: number[] }> {
  const [plain, full] = await Promise.all([
    backend.encode('a', null, { addSpecialTokens: false }),
    backend.encode('a', null, { addSpecialTokens: true }),
  ])
  const [content, ids] = [plain.getIds(), full.getIds()]
  const mask = full.getSpecialTokensMask()
  const first = content.length === 0 ? ids.length : Math.max(0, mask.indexOf(0))
  const start = ids.length === content.length ? 0 : first
  return { prefix: ids.slice(0, start), suffix: ids.slice(start + content.length) }
}

const CLEAN_UPS: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
]

function cleanUpSpaces(text: string): string {
  return CLEAN_UPS.reduce((result, [spaced, tight]) => result.replaceAll(spaced, tight), text)
}
