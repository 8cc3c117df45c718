import { abortError } from '../addon/call.js'
import { checkList, describe } from '../addon/rows.js'
import type { Message } from '../data/chat-template.js'
import { parseMessages, withoutBos } from '../data/conversation.js'
import { conversationOf } from '../data/retokenise.js'
import { constantPrefix } from '../data/template-prefix.js'
import type { Tokenizer } from '../data/tokenizer.js'
import { argumentError, PrudentError } from '../errors.js'
import type { ServiceSettings } from './settings.js'
import { TemplateRenderer } from './template-renderer.js'

/** One thing to score, in the forms of `prudent score`. */
export type ScoreItem =
  | { text: string }
  | { ids: readonly number[] }
  | { messages: readonly Message[] }
  | { prompt: string | readonly Message[]; response: string }

/** How the items of one request become ids. */
export interface EncodeItemsOptions {
  /** Add what the tokenizer adds (BOS and the like); default true. False takes messages as the template wrote them. */
  addSpecialTokens?: boolean | undefined
  /** Keep the last so many tokens; -1: as many as the model takes. */
  truncateTokens?: number | undefined
  addGenerationPrompt?: boolean | undefined
  chatTemplate?: string | undefined
  signal?: AbortSignal | undefined
}

export interface EncoderLimits extends ServiceSettings {
  vocabSize: number
  maxPositions: number
}

/** Items to token ids, the same ids that `prudent score` makes of them; templates are rendered in a process with a deadline. */
export class ItemEncoder {
  readonly #tokenizer: Tokenizer | null
  readonly #limits: EncoderLimits
  readonly #renderer: TemplateRenderer | null

  /** Without a tokenizer only ids are taken. */
  constructor(tokenizer: Tokenizer | null, limits: EncoderLimits) {
    this.#tokenizer = tokenizer
    this.#limits = limits
    this.#renderer =
      tokenizer === null
        ? null
        : new TemplateRenderer({
            sources: tokenizer.chatTemplate?.sources ?? new Map(),
            origin: 'the model',
            timeoutMs: limits.templateTimeoutMs,
            maxCharacters: limits.maxTemplateCharacters,
          })
  }

  /** Tokens that one item may have. */
  get maxTokens(): number {
    const { maxPositions, maxTokensPerItem } = this.#limits
    return Math.min(maxPositions, maxTokensPerItem ?? maxPositions)
  }

  /** @throws E_DATA, E_TOO_LONG, E_RANGE naming the item; E_TIMEOUT, E_CANCELLED */
  async encode(items: readonly ScoreItem[], options: EncodeItemsOptions): Promise<ArrayLike<number>[]> {
    const texts = await this.#texts(items, options)
    const addSpecialTokens = options.addSpecialTokens ?? true
    const written = texts.filter((text) => text !== null)
    const encoded = written.length === 0 ? [] : await this.#needTokenizer().encodeBatch(written, { addSpecialTokens })
    if (options.signal?.aborted) throw abortError(options.signal)
    let next = 0
    const rows = items.map((item, index) => {
      const ids = 'ids' in item ? item.ids : (encoded[next++] as Int32Array)
      return this.#fit(ids, !('ids' in item), index, options)
    })
    const tokens = rows.reduce((sum, row) => sum + row.length, 0)
    const { maxTokensPerRequest } = this.#limits
    if (tokens > maxTokensPerRequest)
      throw argumentError('E_TOO_LONG', 'request', `at most ${maxTokensPerRequest} tokens`, String(tokens))
    return rows
  }

  /** What the model's own chat template begins every text with; empty where that is not worth keeping. */
  async constantPrefix(signal?: AbortSignal): Promise<Int32Array> {
    if (!this.#tokenizer?.chatTemplate) return new Int32Array()
    return constantPrefix((exchanges) => this.encode(exchanges, { signal }))
  }

  async dispose(): Promise<void> {
    await this.#renderer?.dispose()
  }

  /** The text of every item that is not given as ids. */
  async #texts(items: readonly ScoreItem[], options: EncodeItemsOptions): Promise<(string | null)[]> {
    const parts = items.map((item, index) => this.#partOf(item, index, options.chatTemplate))
    const conversations = parts.flatMap((part) => (part !== null && 'messages' in part ? [part.messages] : []))
    if (conversations.length === 0) return parts.map((part) => (part !== null && 'text' in part ? part.text : null))
    const rendered = await this.#render(conversations, options)
    let next = 0
    return parts.map((part) => {
      if (part === null) return null
      return 'text' in part ? part.text : (rendered[next++] as string)
    })
  }

  #partOf(
    item: ScoreItem,
    index: number,
    chatTemplate: string | undefined,
  ): { text: string } | { messages: readonly Message[] } | null {
    checkItem(item, `item ${index}`)
    if ('ids' in item) return null
    if ('text' in item) return item
    const template = chatTemplate ?? this.#needTokenizer().chatTemplate
    if ('prompt' in item) return conversationOf({ chatTemplate: template }, item.prompt, item.response)
    if (template !== null) return item
    const message = `item ${index}: the model has no chat template for messages; give text or prompt and response`
    throw new PrudentError('E_DATA', message, { argument: 'messages' })
  }

  async #render(conversations: readonly (readonly Message[])[], options: EncodeItemsOptions): Promise<string[]> {
    const tokenizer = this.#needTokenizer()
    const job = {
      conversations,
      addGenerationPrompt: options.addGenerationPrompt ?? false,
      specialTokens: tokenizer.specialTokens as Record<string, string>,
      template: options.chatTemplate,
    }
    const texts = await (this.#renderer as TemplateRenderer).render(job, options.signal)
    return options.addSpecialTokens === false ? texts : texts.map((text) => withoutBos(tokenizer, text))
  }

  #needTokenizer(): Tokenizer {
    if (this.#tokenizer !== null) return this.#tokenizer
    throw new PrudentError('E_DATA', 'the model has no tokenizer: give token ids', { argument: 'input' })
  }

  #fit(
    ids: ArrayLike<number>,
    isText: boolean,
    index: number,
    { truncateTokens, addSpecialTokens }: EncodeItemsOptions,
  ): ArrayLike<number> {
    const { vocabSize, truncate } = this.#limits
    if (ids.length === 0) throw argumentError('E_DATA', `item ${index}`, 'a text of at least one token', 'none')
    const wrong = Array.prototype.find.call(ids, (id: number) => id >= vocabSize)
    if (wrong !== undefined)
      throw argumentError('E_RANGE', `item ${index}`, `token ids below ${vocabSize}`, String(wrong))
    const asked = truncateTokens ?? (truncate === 'left' ? -1 : undefined)
    const room = asked === undefined || asked === -1 ? this.maxTokens : Math.min(asked, this.maxTokens)
    if (ids.length <= room) return ids
    if (asked === undefined)
      throw argumentError('E_TOO_LONG', `item ${index}`, `at most ${room} tokens`, String(ids.length))
    if (!isText) return Array.prototype.slice.call(ids, ids.length - room)
    return this.#needTokenizer().truncate(
      ids as Int32Array,
      room,
      addSpecialTokens === false ? { addSpecialTokens } : {},
    )
  }
}

/** A request over HTTP is held to its schema before; a program's may be anything. */
function checkItem(item: unknown, place: string): void {
  const { text, ids, messages, prompt, response } = (item ?? {}) as Record<string, unknown>
  const needText = (value: unknown, name: string) => {
    if (typeof value !== 'string') throw argumentError('E_TYPE', `${place}: ${name}`, 'a string', describe(value))
  }
  if (ids !== undefined) checkList(ids, `${place}: ids`, 'token ids')
  else if (text !== undefined) needText(text, 'text')
  else if (messages !== undefined) {
    if (parseMessages(messages, place).length === 0)
      throw argumentError('E_DATA', `${place}: messages`, 'at least one message', 'none')
  } else if (Array.isArray(prompt)) parseMessages(prompt, place)
  else needText(prompt, 'text, ids, messages or prompt')
  if (prompt !== undefined) needText(response, 'response')
}
