import { z } from 'zod'

const count = z.int().min(1)
const milliseconds = z
  .number()
  .positive()
  .max(2 ** 31 - 1)

/** How requests are batched, what they may ask for and how long they may take. Every limit is on unless it is raised. */
export const serviceSettings = z.strictObject({
  /** Tokens of one forward. */
  maxBatchTokens: count.default(8192),
  /** Longest that a request waits for others to share a forward with. */
  maxWaitMs: z.number().min(0).max(60_000).default(2),
  /** No two requests share a forward: scores are then the same to the last bit whatever else is asked meanwhile. */
  fixedShapes: z.boolean().default(false),
  /** Requests at work or waiting; one more is answered 429. */
  maxQueuedRequests: count.default(256),
  /** Tokens that may wait for their forward; beyond, 429. */
  maxQueuedTokens: count.default(2 ** 18),
  maxBodyBytes: count.default(2 ** 20),
  /** Texts of one request. */
  maxItems: count.default(256),
  /** Tokens of one text; default and upper bound: the model's positions. */
  maxTokensPerItem: count.optional(),
  /** Tokens of all texts of a request. */
  maxTokensPerRequest: count.default(2 ** 16),
  /** Cut texts that are too long on the left instead of refusing them; a request's own truncate_prompt_tokens goes first. */
  truncate: z.literal('left').optional(),
  /** From the arrival of a request to its answer; then 504. */
  requestTimeoutMs: milliseconds.default(30_000),
  /** For the chat template over all messages of a request; the process that renders is killed then. */
  templateTimeoutMs: milliseconds.default(1000),
  /** Characters that the chat template may write for one request. */
  maxTemplateCharacters: count.default(2 ** 20),
  /** Lets requests bring a chat template of their own (`chat_template`). */
  trustRequestChatTemplate: z.boolean().default(false),
})

/** Limits and batching of a service. */
export type ServiceSettings = z.infer<typeof serviceSettings>
/** The same as one gives it: docs/serving.md has the defaults. */
export type ServiceOptions = z.input<typeof serviceSettings>
