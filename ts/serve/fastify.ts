/** `prudent/fastify`: a reward model with error bars inside a Fastify server. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { describe } from '../addon/rows.js'
import { argumentError, PrudentError } from '../errors.js'
import { classifyAnswer, poolingAnswer, scoreAnswer } from './answers.js'
import { apiKeyChecker, checkApiKey } from './api-key.js'
import { errorAnswer, HttpError } from './http-errors.js'
import { ServiceMetrics } from './metrics.js'
import { openApiDocument } from './openapi.js'
import { page } from './page.js'
import {
  type ClassifyRequest,
  inputOrChat,
  itemsOfInput,
  itemsOfScore,
  type PoolingRequest,
  parseScoreRequest,
  requestSchemas,
  type ScoreRequest,
} from './schemas.js'
import { type LoadServiceOptions, ScoringService } from './scoring-service.js'

export type { Uncertainty } from './answers.js'
export type { EncodeItemsOptions, ScoreItem } from './item-encoder.js'
export { type LoadServiceOptions, type ScoredItems, ScoringService, type ServiceParts } from './scoring-service.js'
export type { ServiceOptions, ServiceSettings } from './settings.js'

/** A service of one's own, or the model to make one of. */
export type PrudentPluginOptions = {
  /** Every route but /health asks for it, as `Authorization: Bearer KEY`: visible ASCII characters without spaces. */
  apiKey?: string | undefined
  /** Called with what no caller can have caused; default: the request's log. */
  onError?: ((error: unknown) => void) | undefined
} & (
  | {
      /** A service that stays its owner's: it is drained, but not disposed of, when the server closes. */
      service: ScoringService
    }
  | ({
      /** Folder or hub id of a reward model; loaded here and disposed of when the server closes. */
      model: string
    } & LoadServiceOptions)
)

/**
 * `app.register(prudent, { model: 'DIR', prefix: '/reward' })`: POST /pooling, /classify, /score; GET /v1/models, /health, /ready, /metrics,
 * /openapi.json and a page at /. Hooks and error handling stay inside the prefix; with `/` for one, what no route answers is a 404 of prudent's
 * (behind the key), without any it is the app's.
 *
 * @example
 * ```ts
 * import fastify from 'fastify'
 * import prudent from 'prudent/fastify'
 *
 * const app = fastify()
 * await app.register(prudent, { model: 'reward-model', prefix: '/reward' })
 * const payload = { prompt: 'the', response: ['good', 'bad'] }
 * const answer = await app.inject({ method: 'POST', url: '/reward/score', payload })
 * console.log(answer.statusCode, answer.json().data.length) // 200 2
 * await app.close()
 * ```
 */
export default async function prudent(app: FastifyInstance, options: PrudentPluginOptions): Promise<void> {
  const { service, owned } = await serviceOf(options)
  app.addHook('preClose', () => service.drain())
  if (owned) app.addHook('onClose', () => service.dispose())
  // JSON alone, whatever the parsers of the app around it: everything else is 415.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))
  const metrics = new ServiceMetrics()
  addMetrics(app, metrics)
  if (options.apiKey !== undefined) addApiKey(app, options.apiKey)
  app.addHook('onRequest', refusePacked)
  addErrors(app, service, options.onError)
  addInformation(app, service, metrics, options.apiKey !== undefined)
  addScoring(app, service)
}

/** Bodies are read as they come; a packed one would be told as JSON that is broken. */
async function refusePacked({ headers }: FastifyRequest): Promise<void> {
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity')
    throw new HttpError(415, `content-encoding: expected none, received ${JSON.stringify(encoding)}`)
}

async function serviceOf(options: PrudentPluginOptions): Promise<{ service: ScoringService; owned: boolean }> {
  if ('service' in options) {
    if (typeof options.service?.score === 'function') return { service: options.service, owned: false }
    throw argumentError('E_TYPE', 'service', 'a ScoringService', describe(options.service))
  }
  // What Fastify adds to a plugin's options is not the service's.
  const {
    model,
    apiKey: _key,
    onError: _onError,
    prefix: _prefix,
    logLevel: _level,
    logSerializers: _logs,
    ...rest
  } = options as PrudentPluginOptions & Record<string, unknown>
  return { service: await ScoringService.load(model as string, rest as LoadServiceOptions), owned: true }
}

const started = new WeakMap<FastifyRequest, number>()

function addMetrics(app: FastifyInstance, metrics: ServiceMetrics): void {
  app.addHook('onRequest', async (request) => {
    started.set(request, performance.now())
  })
  app.addHook('onResponse', async (request, reply) => {
    const seconds = (performance.now() - (started.get(request) ?? performance.now())) / 1000
    metrics.answered(request.routeOptions.url ?? 'none', reply.statusCode, seconds)
  })
}

function addApiKey(app: FastifyInstance, key: string): void {
  const isRight = apiKeyChecker(checkApiKey(key, 'apiKey'))
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.prudentOpen || isRight(request.headers.authorization)) return
    // Basic lets a browser ask for the key of the page.
    reply.header('www-authenticate', request.routeOptions.config.prudentPage ? 'Basic realm="prudent"' : 'Bearer')
    throw new HttpError(401, 'the API key is missing or wrong')
  })
}

function addErrors(app: FastifyInstance, service: ScoringService, onError: PrudentPluginOptions['onError']): void {
  app.setErrorHandler((error, request, reply) => {
    const { status, body } = errorAnswer(error)
    if (status === 500) {
      if (onError) onError(error)
      else request.log.error(error)
    }
    if (status === 429 || status === 503) reply.header('retry-after', String(service.retryAfterSeconds))
    return reply.code(status).send(body)
  })
  // Without a prefix what nothing answers is the host's to answer.
  if (app.prefix === '') return
  app.setNotFoundHandler((request) => {
    throw new HttpError(404, `there is no ${request.method} ${request.url.slice(0, 100)}`)
  })
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers without the API key. */
    prudentOpen?: boolean
    prudentPage?: boolean
  }
}

function addInformation(app: FastifyInstance, service: ScoringService, metrics: ServiceMetrics, keyed: boolean): void {
  const { architecture, dtype, numLabels } = service.info
  const created = Math.floor(Date.now() / 1000)
  const model = {
    ...{ id: service.name, object: 'model', created, owned_by: 'prudent', root: service.name, parent: null },
    ...{ max_model_len: service.maxTokens, architecture, dtype, heads: numLabels },
  }
  const document = openApiDocument(service, keyed)
  app.get('/v1/models', async () => ({ object: 'list', data: [model] }))
  app.get('/health', { config: { prudentOpen: true } }, async () => ({ status: 'ok' }))
  app.get('/ready', async (_request, reply) => {
    if (service.ready) return { status: 'ready' }
    return reply.code(503).send({ status: 'draining' })
  })
  app.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(metrics.text(service)),
  )
  app.get('/openapi.json', async () => document)
  app.get('/', { config: { prudentPage: true } }, async (_request, reply) =>
    reply.headers(page.headers).type('text/html; charset=utf-8').send(page.html),
  )
}

function addScoring(app: FastifyInstance, service: ScoringService): void {
  const schemas = requestSchemas(service.settings)
  const { name: model, labels } = service
  const route = { bodyLimit: service.settings.maxBodyBytes }
  const answer = { model, labels }

  app.post('/pooling', route, async (request, reply) => {
    const body = inputOrChat(request.body, schemas.poolingInput, schemas.poolingChat)
    const scored = await scoreFor(request, reply, service, body, itemsOfInput(body))
    const base64 = body.encoding_format === 'base64'
    return poolingAnswer(scored, { ...answer, activate: body.use_activation ?? false, base64 })
  })
  app.post('/classify', route, async (request, reply) => {
    const body = inputOrChat(request.body, schemas.classifyInput, schemas.classifyChat)
    const scored = await scoreFor(request, reply, service, body, itemsOfInput(body))
    return classifyAnswer(scored, { ...answer, activate: body.use_activation ?? true })
  })
  for (const url of ['/score', '/v1/score']) {
    app.post(url, route, async (request, reply) => {
      const body = parseScoreRequest(request.body, schemas)
      const scored = await scoreFor(request, reply, service, body, itemsOfScore(body))
      return scoreAnswer(scored, { ...answer, activate: body.use_activation ?? false })
    })
  }
}

/** Scores under the request's deadline, and no longer than its client waits. */
async function scoreFor(
  request: FastifyRequest,
  reply: FastifyReply,
  service: ScoringService,
  body: PoolingRequest | ClassifyRequest | ScoreRequest,
  items: Parameters<ScoringService['score']>[0],
): ReturnType<ScoringService['score']> {
  if (body.model !== undefined && body.model !== null && body.model !== service.name)
    throw new PrudentError('E_NOT_FOUND', `the model ${JSON.stringify(body.model)} does not exist`, {
      argument: 'model',
    })
  const end = new AbortController()
  const { requestTimeoutMs } = service.settings
  const spent = performance.now() - (started.get(request) ?? performance.now())
  const late = new PrudentError('E_TIMEOUT', `no answer within ${requestTimeoutMs} ms`)
  const timer = setTimeout(() => end.abort(late), Math.max(0, requestTimeoutMs - spent))
  const onClose = () => end.abort(new PrudentError('E_CANCELLED', 'the client went away'))
  reply.raw.once('close', onClose)
  try {
    return await service.score(items, {
      signal: end.signal,
      truncateTokens: body.truncate_prompt_tokens ?? undefined,
      addSpecialTokens: ('add_special_tokens' in body ? body.add_special_tokens : undefined) ?? undefined,
      addGenerationPrompt: ('add_generation_prompt' in body ? body.add_generation_prompt : undefined) ?? undefined,
      chatTemplate: ('chat_template' in body ? (body.chat_template as string | null) : undefined) ?? undefined,
    })
  } finally {
    clearTimeout(timer)
    reply.raw.off('close', onClose)
  }
}
