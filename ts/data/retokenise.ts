import type { Message } from './chat-template.js'
import { type Conversation, renderConversation } from './conversation.js'
import type { Tokenizer } from './tokenizer.js'

export interface ResponseRow {
  /** The prompt as the data set gave it: text, or messages. */
  prompt: string | readonly Message[]
  /** What the policy drew; EOS and other special tokens are left out of the text. */
  responseIds: ArrayLike<number>
}

export interface RetokenisedRows {
  rows: Int32Array[]
  /** Responses as text. */
  texts: string[]
  /** Rows cut on the left. */
  truncated: number
  /** Rows whose response text is not the drawn tokens any more once encoded again by the policy's tokenizer; null unless asked for. */
  notRoundTrip: number | null
}

export interface RetokeniseOptions {
  policy: Tokenizer
  scorer: Tokenizer
  maxLength: number
  /** Costs as much again as the rest (default false). */
  countRoundTrips?: boolean
}

/**
 * From the policy's tokens to the reward model's: decode with the policy's tokenizer, put prompt and response into the scorer's
 * chat template (joined as they are where it has none), encode with the scorer's tokenizer, cut on the left.
 *
 * The prompt is taken as text, never decoded from tokens, so only the response can change on the way: pieces of UTF-8 that no
 * character completes become U+FFFD, special tokens vanish, and text that looks like a special token of the scorer is encoded
 * as one, as it is where transformers tokenises such text.
 */
export async function retokenise(rows: readonly ResponseRow[], options: RetokeniseOptions): Promise<RetokenisedRows> {
  const { policy, scorer, maxLength } = options
  const texts = await policy.decodeBatch(
    rows.map((row) => row.responseIds),
    { skipSpecialTokens: true },
  )
  const conversations = rows.map((row, index) => conversationOf(scorer, row.prompt, texts[index] as string))
  const encoded = await scorer.encodeBatch(
    conversations.map((conversation) => renderConversation(scorer, conversation)),
  )
  return {
    rows: encoded.map((row) => scorer.truncate(row, maxLength)),
    texts,
    truncated: encoded.filter((row) => row.length > maxLength).length,
    notRoundTrip: options.countRoundTrips ? await countNotRoundTrip(rows, texts, policy) : null,
  }
}

async function countNotRoundTrip(
  rows: readonly ResponseRow[],
  texts: readonly string[],
  policy: Tokenizer,
): Promise<number> {
  const ids = rows.map((row) => Int32Array.from(row.responseIds))
  const again = await policy.encodeBatch(texts, { addSpecialTokens: false })
  const special = await specialIds(policy, ids)
  const isSame = (row: Int32Array, index: number) =>
    sameIds(
      row.filter((id) => !special.has(id)),
      again[index] as Int32Array,
    )
  return ids.filter((row, index) => !isSame(row, index)).length
}

/** prompt + response with the scorer's chat template, or one text where it has none (null). */
export function conversationOf(
  scorer: { readonly chatTemplate: unknown },
  prompt: string | readonly Message[],
  response: string,
): Conversation {
  const messages = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : [...prompt]
  if (scorer.chatTemplate === null) return { text: messages.map((message) => message.content).join('') + response }
  return { messages: [...messages, { role: 'assistant', content: response }] }
}

/** Ids that decode to nothing when special tokens are skipped, although they stand for text. */
async function specialIds(tokenizer: Tokenizer, rows: readonly Int32Array[]): Promise<Set<number>> {
  const ids = [...new Set(rows.flatMap((row) => [...row]))]
  const single = ids.map((id) => [id])
  const [shown, skipped] = await Promise.all([
    tokenizer.decodeBatch(single),
    tokenizer.decodeBatch(single, { skipSpecialTokens: true }),
  ])
  return new Set(ids.filter((_, index) => shown[index] !== '' && skipped[index] === ''))
}

function sameIds(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index])
}
