import { PrudentError } from '../errors.js'
import type { Message } from './chat-template.js'
import { kindOf } from './rows.js'
import type { Tokenizer } from './tokenizer.js'
import { isObject } from './tokenizer-files.js'

/** A finished exchange: messages for a chat template, or text that is scored as it is. */
export type Conversation = { messages: Message[] } | { text: string }

/** @throws E_DATA, naming place and message, unless value is a list of { role, content } with text in both. */
export function parseMessages(value: unknown, place: string): Message[] {
  if (!Array.isArray(value)) throw dataError(place, 'a list of messages', kindOf(value))
  return value.map((item, index) => {
    const at = `${place}, message ${index + 1}`
    if (!isObject(item)) throw dataError(at, '{role, content}', kindOf(item))
    if (typeof item.role !== 'string') throw dataError(at, 'a text "role"', kindOf(item.role))
    if (typeof item.content !== 'string') throw dataError(at, 'a text "content"', kindOf(item.content))
    return { role: item.role, content: item.content }
  })
}

function dataError(place: string, expected: string, received: string): PrudentError {
  return new PrudentError('E_DATA', `${place}: expected ${expected}, received ${received}`, { expected, received })
}

/**
 * The text that is tokenised. Messages go through the tokenizer's chat template without a generation prompt; the template's
 * BOS text is removed where the tokenizer adds BOS itself, so that exactly one BOS comes first. Without a template the contents
 * are joined as they are: there prompt and response make one text.
 */
export function renderConversation(tokenizer: Tokenizer, conversation: Conversation): string {
  if ('text' in conversation) return conversation.text
  if (tokenizer.chatTemplate === null) return conversation.messages.map((message) => message.content).join('')
  return withoutBos(
    tokenizer,
    tokenizer.chatTemplate.render(conversation.messages, { specialTokens: tokenizer.specialTokens }),
  )
}

/** The prompt that a policy answers: messages with the assistant's turn opened. */
export function renderPrompt(tokenizer: Tokenizer, conversation: Conversation): string {
  if ('text' in conversation || tokenizer.chatTemplate === null) return renderConversation(tokenizer, conversation)
  const options = { specialTokens: tokenizer.specialTokens, addGenerationPrompt: true }
  return withoutBos(tokenizer, tokenizer.chatTemplate.render(conversation.messages, options))
}

/** Removes the BOS text that a template wrote where the tokenizer adds BOS itself. */
export function withoutBos(tokenizer: Tokenizer, text: string): string {
  const bos = tokenizer.bosToken
  return tokenizer.addsBos && bos !== null && bos !== '' && text.startsWith(bos) ? text.slice(bos.length) : text
}

/** Whether there is nothing to score: blank text, no messages, or a blank last message. */
export function isEmptyConversation(conversation: Conversation): boolean {
  if ('text' in conversation) return conversation.text.trim() === ''
  const last = conversation.messages.at(-1)
  return last === undefined || last.content.trim() === ''
}

export function sameConversation(a: Conversation, b: Conversation): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
