import { isIP } from 'node:net'
import { PrudentError } from '../../errors.js'
import { checkApiKey } from '../../serve/api-key.js'
import { ScoringService } from '../../serve/scoring-service.js'
import type { RowOptions } from './model.js'
import type { Int8Options } from './options.js'
import type { Session } from './session.js'

export interface ServeOptions extends RowOptions, Int8Options {
  host: string
  port: number
  servedModelName?: string
  apiKeyEnv?: string
  maxWaitMs: number
  fixedShapes?: boolean
  maxQueuedRequests: number
  maxQueuedTokens: number
  maxBodyBytes: number
  maxItems: number
  maxTokensPerItem?: number
  maxTokensPerRequest: number
  maxConnections: number
  requestTimeout: number
  templateTimeout: number
  drainTimeout: number
  trustRequestChatTemplate?: boolean
}

/** `prudent serve`: from loading to the last answer. */
export async function runServe(session: Session, options: ServeOptions): Promise<void> {
  const apiKey = readApiKey(options.apiKeyEnv)
  const { startServer } = await import('../../serve/server.js').catch(explainMissing)
  const service = await loadService(session, options)
  const { host, port, maxConnections } = options
  const onError = (error: unknown) => session.note(`prudent: ${error instanceof Error ? error.message : String(error)}`)
  const server = await startServer(service, { host, port, apiKey, maxConnections, onError })
  const { dtype, int8, device, numLabels } = service.info
  session.note(
    `prudent: serving ${service.name} (${numLabels} heads, ${dtype}${int8 ? ', products in int8,' : ''} on ${device}) on ${server.url}`,
  )
  if (apiKey === undefined && !isLoopback(host))
    session.note('prudent: anybody who reaches this address may ask: --api-key-env NAME asks for a key')
  await aborted(session.signal)
  await server.close(options.drainTimeout * 1000)
  session.note('prudent: all requests are answered')
}

function loadService(session: Session, options: ServeOptions): Promise<ScoringService> {
  const { model, revision, tokenizer, dtype, int8, device, servedModelName } = options
  return ScoringService.load(model, {
    ...{ name: servedModelName, revision, tokenizer, dtype, int8, device, signal: session.signal },
    maxBatchTokens: options.batchTokens,
    maxWaitMs: options.maxWaitMs,
    fixedShapes: options.fixedShapes ?? false,
    maxQueuedRequests: options.maxQueuedRequests,
    maxQueuedTokens: options.maxQueuedTokens,
    maxBodyBytes: options.maxBodyBytes,
    maxItems: options.maxItems,
    maxTokensPerItem: options.maxTokensPerItem,
    maxTokensPerRequest: options.maxTokensPerRequest,
    truncate: options.truncate,
    requestTimeoutMs: options.requestTimeout * 1000,
    templateTimeoutMs: options.templateTimeout * 1000,
    trustRequestChatTemplate: options.trustRequestChatTemplate ?? false,
  })
}

/** Fastify is an optional peer: whoever only trains or scores does without. */
function explainMissing(cause: unknown): never {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes("'fastify'")) throw cause
  const expected = 'the npm package fastify, version 5'
  throw new PrudentError('E_TOOL', `prudent serve needs ${expected}: run \`npm install fastify\``, {
    ...{ argument: 'fastify', expected, received: 'nothing', cause },
  })
}

/** The key never stands on the command line, where every process of the machine could read it. */
function readApiKey(variable: string | undefined): string | undefined {
  if (variable === undefined) return undefined
  const key = process.env[variable]
  if (key) return checkApiKey(key, `--api-key-env ${variable}`)
  throw new PrudentError('E_CONFIG', `--api-key-env: the environment variable ${variable} is not set or empty`, {
    argument: '--api-key-env',
  })
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true
  return isIP(host) === 4 && host.startsWith('127.')
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
