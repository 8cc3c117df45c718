import type { Message } from '../../data/chat-template.js'
import { type Conversation, parseMessages, renderConversation } from '../../data/conversation.js'
import { inputName } from '../../data/json-lines.js'
import { conversationOf } from '../../data/retokenise.js'
import { kindOf } from '../../data/rows.js'
import type { Tokenizer } from '../../data/tokenizer.js'
import { isObject, type JsonObject } from '../../data/tokenizer-files.js'
import { PrudentError } from '../../errors.js'

export type InputForm = 'prompt and response' | 'messages' | 'text' | 'input_ids'

/** One input row in one of the accepted forms. */
export type RowInput =
  | { form: 'input_ids'; ids: Int32Array; place: string }
  | { form: 'text'; text: string; place: string }
  | { form: 'messages'; messages: Message[]; place: string }
  | { form: 'prompt and response'; prompt: string | Message[]; response: string; place: string }

const FORM_KEYS: Record<InputForm, readonly string[]> = {
  'prompt and response': ['prompt', 'response'],
  messages: ['messages'],
  text: ['text'],
  input_ids: ['input_ids'],
}

/**
 * The row that an input line holds. Keys that belong to no form are ignored, so that files with further columns can be used.
 * @throws E_DATA naming file and line for a line with no form, more than one, or a value of the wrong type.
 */
export function parseRow(value: unknown, file: string, line: number, forms: readonly InputForm[]): RowInput {
  const place = `${inputName(file)}:${line}`
  if (!isObject(value)) throw rowError(place, 'an object', kindOf(value))
  const present = forms.filter((form) => FORM_KEYS[form].some((key) => Object.hasOwn(value, key)))
  const [form] = present
  if (form === undefined || present.length > 1) {
    const expected = `one of ${forms.map((each) => `{${FORM_KEYS[each].join(', ')}}`).join(', ')}`
    throw rowError(place, expected, `{${Object.keys(value).join(', ')}}`)
  }
  return parseForm(value, form, place)
}

function parseForm(value: JsonObject, form: InputForm, place: string): RowInput {
  if (form === 'input_ids') return { form, ids: parseIds(value.input_ids, place), place }
  if (form === 'text') return { form, text: parseText(value, 'text', place), place }
  if (form === 'messages') {
    const messages = parseMessages(value.messages, `${place}: messages`)
    if (messages.length === 0) throw rowError(`${place}: messages`, 'at least one message', 'none')
    return { form, messages, place }
  }
  const prompt = Array.isArray(value.prompt)
    ? parseMessages(value.prompt, `${place}: prompt`)
    : parseText(value, 'prompt', place)
  return { form, prompt, response: parseText(value, 'response', place), place }
}

function parseText(value: JsonObject, key: string, place: string): string {
  const text = value[key]
  if (typeof text !== 'string') throw rowError(`${place}: ${key}`, 'text', kindOf(text))
  return text
}

function parseIds(value: unknown, place: string): Int32Array {
  if (!Array.isArray(value)) throw rowError(`${place}: input_ids`, 'a list of token ids', kindOf(value))
  if (value.length === 0) throw rowError(`${place}: input_ids`, 'at least one token id', 'none')
  const wrong = value.findIndex((id) => !Number.isInteger(id) || id < 0 || id > 0x7fffffff)
  if (wrong >= 0) throw rowError(`${place}: input_ids[${wrong}]`, 'a token id', JSON.stringify(value[wrong]))
  return Int32Array.from(value as number[])
}

export function rowError(place: string, expected: string, received: string): PrudentError {
  return new PrudentError('E_DATA', `${place}: expected ${expected}, received ${received}`, { expected, received })
}

export interface RowLimits {
  vocabSize: number
  /** Tokens that fit; longer rows are cut on the left or refused. */
  maxTokens: number
  truncate: 'left' | undefined
}

/** Turns rows into token ids; the tokenizer is loaded when the first row needs it. */
export class RowTokeniser {
  readonly #loadTokenizer: () => Promise<Tokenizer>
  readonly #limits: RowLimits
  #tokenizer: Promise<Tokenizer> | null = null

  constructor(loadTokenizer: () => Promise<Tokenizer>, limits: RowLimits) {
    this.#loadTokenizer = loadTokenizer
    this.#limits = limits
  }

  tokenizer(): Promise<Tokenizer> {
    this.#tokenizer ??= this.#loadTokenizer()
    return this.#tokenizer
  }

  /**
   * Ids of every row, in order. Texts get the special tokens that transformers adds by default; input_ids stay as they are.
   * @throws E_TOO_LONG, or E_DATA for rows without tokens or with ids outside the model's vocabulary; both name file and line.
   */
  async tokenise(rows: readonly RowInput[]): Promise<Int32Array[]> {
    const written = rows.filter((row) => row.form !== 'input_ids')
    const tokenizer = written.length > 0 ? await this.tokenizer() : null
    const texts = tokenizer === null ? [] : written.map((row) => rowText(tokenizer, row))
    const encoded = tokenizer === null ? [] : await tokenizer.encodeBatch(texts)
    let next = 0
    return rows.map((row) => {
      const ids = row.form === 'input_ids' ? row.ids : (encoded[next++] as Int32Array)
      this.#check(ids, row.place)
      return this.#fit(ids, row, tokenizer)
    })
  }

  #check(ids: Int32Array, place: string): void {
    const { vocabSize } = this.#limits
    if (ids.length === 0) throw rowError(place, 'a text of at least one token', 'none')
    const wrong = ids.find((id) => id >= vocabSize)
    if (wrong !== undefined)
      throw rowError(place, `token ids below the model's vocabulary size ${vocabSize}`, String(wrong))
  }

  #fit(ids: Int32Array, row: RowInput, tokenizer: Tokenizer | null): Int32Array {
    const { maxTokens, truncate } = this.#limits
    if (ids.length <= maxTokens) return ids
    if (truncate === undefined) {
      const [expected, received] = [`at most ${maxTokens} tokens`, String(ids.length)]
      const message = `${row.place}: expected ${expected}, received ${received}; --truncate left cuts such rows`
      throw new PrudentError('E_TOO_LONG', message, { expected, received })
    }
    if (row.form === 'input_ids' || tokenizer === null) return ids.slice(ids.length - maxTokens)
    return tokenizer.truncate(ids, maxTokens)
  }
}

/** The text of a row that is not given as ids. */
function rowText(tokenizer: Tokenizer, row: RowInput): string {
  if (row.form === 'text') return row.text
  if (row.form === 'input_ids') return ''
  if (row.form === 'messages' && tokenizer.chatTemplate === null) {
    const message = `${row.place}: the tokenizer in ${tokenizer.folder} has no chat template for messages; give text or prompt and response`
    throw new PrudentError('E_DATA', message, { argument: 'messages' })
  }
  const conversation: Conversation = row.form === 'messages' ? row : conversationOf(tokenizer, row.prompt, row.response)
  try {
    return renderConversation(tokenizer, conversation)
  } catch (cause) {
    if (!(cause instanceof PrudentError)) throw cause
    throw new PrudentError(cause.code, `${row.place}: ${cause.message}`, { cause })
  }
}
