import type { NativeModel } from '../addon/native.js'
import { PrudentError } from '../errors.js'
import { renderConversation } from './conversation.js'
import { conversationOf } from './retokenise.js'
import type { Tokenizer } from './tokenizer.js'

/** A shorter beginning is not worth a forward that continues it: what was measured stands in docs/serving.md. */
export const LEAST_PREFIX_TOKENS = 16

export interface Exchange {
  prompt: string
  response: string
}

/** Exchanges that have no character in common at any place: what their texts begin with alike is the template's. */
const PROBES: readonly Exchange[] = [
  { prompt: 'Zebras graze.', response: 'So they do.' },
  { prompt: '7 of 9', response: '1' },
  { prompt: 'a', response: 'b' },
]

/**
 * The tokens that every text of a chat template begins with: the beginning that `encode` gives exchanges of different content in common.
 * Empty where it is too short to be worth keeping, or where there is none to be had (no template, or one that refuses such messages).
 * It depends on template and tokenizer alone, never on what has been scored.
 */
export async function constantPrefix(
  encode: (exchanges: readonly Exchange[]) => Promise<readonly ArrayLike<number>[]>,
): Promise<Int32Array> {
  const rows = await encode(PROBES).catch(noneIfRefused)
  const common = commonBeginning(rows)
  return common.length < LEAST_PREFIX_TOKENS ? new Int32Array() : common
}

/** As `constantPrefix`, of the tokenizer's own template as `retokenise` renders it. */
export async function templatePrefix(tokenizer: Tokenizer): Promise<Int32Array> {
  if (tokenizer.chatTemplate === null) return new Int32Array()
  return constantPrefix(async (exchanges) =>
    tokenizer.encodeBatch(
      exchanges.map(({ prompt, response }) =>
        renderConversation(tokenizer, conversationOf(tokenizer, prompt, response)),
      ),
    ),
  )
}

export type PrefixKeeper = Pick<NativeModel, 'info' | 'setPrefix'>

/** Has the model keep the prefix: rows that begin with it compute only what follows. One that the model could not hold is left alone. */
export async function keepPrefix(model: PrefixKeeper, prefix: Int32Array): Promise<void> {
  const { vocabSize, maxPositions } = model.info()
  if (prefix.length === 0 || prefix.length >= maxPositions || prefix.some((id) => id >= vocabSize)) return
  await model.setPrefix(prefix)
}

function commonBeginning(rows: readonly ArrayLike<number>[]): Int32Array {
  const [first = [], ...others] = rows.map((row) => Array.from(row))
  const end = first.findIndex((id, at) => others.some((row) => row[at] !== id))
  return Int32Array.from(end < 0 ? first : first.slice(0, end))
}

/** Texts that are scored say what is wrong with a template, by the name of their place. */
function noneIfRefused(error: unknown): [] {
  if (
    error instanceof PrudentError &&
    ['E_DATA', 'E_CONFIG', 'E_TIMEOUT', 'E_TOO_LONG', 'E_RANGE'].includes(error.code)
  )
    return []
  throw error
}
