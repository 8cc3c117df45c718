/** What requests may hold, in vLLM's names; unknown keys are refused. The OpenAPI document is made from the same schemas. */
import { z } from 'zod'
import { readableIssues } from '../config/issues.js'
import type { Message } from '../data/chat-template.js'
import { PrudentError } from '../errors.js'
import type { ScoreItem } from './item-encoder.js'
import type { ServiceSettings } from './settings.js'

/** Longer names of anything are a mistake or an attack. */
const name = z.string().max(256)
const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)

const contentPart = z.strictObject({ type: z.literal('text'), text: z.string() })
const message = z.strictObject({
  role: z.string().min(1).max(64),
  content: z.union([z.string(), z.array(contentPart).min(1).max(64)]),
  name: name.nullish(),
})
type RequestMessage = z.infer<typeof message>

const common = {
  /** The name of GET /v1/models; may be left out. */
  model: name.nullish(),
  user: name.nullish(),
  request_id: name.nullish(),
  priority: z.literal(0).nullish(),
  truncate_prompt_tokens: z.union([z.literal(-1), z.int().min(1)]).nullish(),
  truncation_side: z.literal('left').nullish(),
  use_activation: z.boolean().nullish(),
}
const encoding = { encoding_format: z.enum(['float', 'base64']).nullish(), task: z.literal('classify').nullish() }

export type RequestSchemas = ReturnType<typeof requestSchemas>
export type PoolingRequest = z.infer<RequestSchemas['poolingInput']> | z.infer<RequestSchemas['poolingChat']>
export type ClassifyRequest = z.infer<RequestSchemas['classifyInput']> | z.infer<RequestSchemas['classifyChat']>
export type ScoreRequest = z.infer<RequestSchemas['scoreTexts' | 'scorePrompt' | 'scoreMessages' | 'scoreItems']>

/** The schemas of all requests under a service's limits. */
export function requestSchemas({ maxItems, maxTokensPerRequest, trustRequestChatTemplate }: ServiceSettings) {
  const ids = z.array(tokenId).min(1).max(maxTokensPerRequest)
  const listOf = <T extends z.ZodType>(item: T) => z.array(item).min(1).max(maxItems)
  // An empty text has nothing to score.
  const text = z.string().min(1)
  const messages = z.array(message).min(1).max(1024)
  const template = trustRequestChatTemplate ? { chat_template: z.string().max(65_536).nullish() } : {}
  const input = {
    input: z.union([text, listOf(text), ids, listOf(ids)]),
    add_special_tokens: z.boolean().nullish(),
  }
  const chat = {
    messages,
    add_generation_prompt: z.boolean().nullish(),
    continue_final_message: z.literal(false).nullish(),
    add_special_tokens: z.boolean().nullish(),
    ...template,
  }
  const texts = z.union([z.string(), listOf(z.string())])
  const prompt = z.union([z.string(), messages])
  const item = z.union([
    z.strictObject({ prompt, response: z.string() }),
    z.strictObject({ messages }),
    z.strictObject({ text: z.string() }),
    z.strictObject({ input_ids: ids }),
  ])
  return {
    poolingInput: z.strictObject({ ...common, ...encoding, ...input }),
    poolingChat: z.strictObject({ ...common, ...encoding, ...chat }),
    classifyInput: z.strictObject({ ...common, ...input }),
    classifyChat: z.strictObject({ ...common, ...chat }),
    scoreTexts: z.strictObject({ ...common, text_1: texts, text_2: texts, ...template }),
    scorePrompt: z.strictObject({ ...common, prompt, response: texts, ...template }),
    scoreMessages: z.strictObject({ ...common, messages, ...template }),
    scoreItems: z.strictObject({ ...common, items: listOf(item), ...template }),
  }
}

/** @throws E_DATA naming the key that is wrong */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const [first] = readableIssues(schema, parsed.error.issues, body)
  const key = first?.key || 'body'
  throw new PrudentError('E_DATA', `${key}: ${first?.message ?? 'not valid'}`, { argument: key })
}

/** Chat where there are messages, otherwise input: the choice by which errors name what the caller meant. */
export function inputOrChat<A, B>(body: unknown, input: z.ZodType<A>, chat: z.ZodType<B>): A | B {
  return has(body, 'messages') ? parseBody(chat, body) : parseBody(input, body)
}

/** Names that vLLM has for the two sides of a score; the first is ours. */
const SIDES = [
  ['text_1', 'text_2'],
  ['data_1', 'data_2'],
  ['queries', 'documents'],
  ['queries', 'items'],
] as const

export function parseScoreRequest(body: unknown, schemas: RequestSchemas): ScoreRequest {
  const sides = SIDES.find(([first, second]) => has(body, first) && has(body, second))
  if (sides !== undefined) {
    const { [sides[0]]: text_1, [sides[1]]: text_2, ...rest } = body as Record<string, unknown>
    return parseBody(schemas.scoreTexts, { ...rest, text_1, text_2 })
  }
  if (has(body, 'items')) return parseBody(schemas.scoreItems, body)
  if (has(body, 'messages')) return parseBody(schemas.scoreMessages, body)
  return parseBody(schemas.scorePrompt, body)
}

/** The items of /pooling and /classify. */
export function itemsOfInput(request: PoolingRequest | ClassifyRequest): ScoreItem[] {
  if ('messages' in request) return [{ messages: request.messages.map(toMessage) }]
  const { input } = request
  if (typeof input === 'string') return [{ text: input }]
  if (typeof input[0] === 'number') return [{ ids: input as number[] }]
  return (input as (string | number[])[]).map((each) => (typeof each === 'string' ? { text: each } : { ids: each }))
}

/** The items of /score: pairs of one prompt with one or many responses, or of as many of either. */
export function itemsOfScore(request: ScoreRequest): ScoreItem[] {
  if ('items' in request) return request.items.map(toItem)
  if ('messages' in request) return [{ messages: request.messages.map(toMessage) }]
  if ('prompt' in request) {
    const prompt = toPrompt(request.prompt)
    return [request.response].flat().map((response) => ({ prompt, response }))
  }
  const [prompts, responses] = [[request.text_1].flat(), [request.text_2].flat()]
  if (prompts.length !== 1 && prompts.length !== responses.length) {
    const received = `${prompts.length} and ${responses.length}`
    const message = `text_1, text_2: expected 1 and 1, 1 and n, or n and n texts, received ${received}`
    throw new PrudentError('E_DATA', message, { argument: 'text_2', received })
  }
  return responses.map((response, at) => ({
    prompt: (prompts.length === 1 ? prompts[0] : prompts[at]) as string,
    response,
  }))
}

type RequestItem = Extract<ScoreRequest, { items: unknown }>['items'][number]

function toItem(item: RequestItem): ScoreItem {
  if ('input_ids' in item) return { ids: item.input_ids }
  if ('text' in item) return item
  if ('messages' in item) return { messages: item.messages.map(toMessage) }
  return { prompt: toPrompt(item.prompt), response: item.response }
}

function toPrompt(prompt: string | RequestMessage[]): string | Message[] {
  return typeof prompt === 'string' ? prompt : prompt.map(toMessage)
}

function toMessage({ role, content }: RequestMessage): Message {
  return { role, content: typeof content === 'string' ? content : content.map((part) => part.text).join('\n') }
}

function has(body: unknown, key: string): boolean {
  return typeof body === 'object' && body !== null && Object.hasOwn(body, key)
}
