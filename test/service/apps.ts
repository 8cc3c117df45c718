import { join } from 'node:path'
import fastify, { type FastifyInstance } from 'fastify'
import prudent, { ScoringService, type ServiceOptions } from '../../ts/serve/fastify.js'
import { ExactScorer } from '../addon/exact-scorer.js'

export const FILES = join('test', 'cli', 'files')
export const ENSEMBLE = join(FILES, 'gemma-ensemble')

export interface ExactApp {
  app: FastifyInstance
  scorer: ExactScorer
  service: ScoringService
  [Symbol.asyncDispose](): Promise<void>
}

/** A service over a scorer without rounding that can be made to wait; it takes token ids alone. */
export function exactApp(settings: ServiceOptions = {}, rest: { apiKey?: string } = {}): ExactApp {
  const scorer = new ExactScorer()
  const service = new ScoringService({
    name: 'exact',
    model: scorer,
    tokenizer: null,
    labels: ['a', 'b', 'c'],
    settings,
  })
  const app = fastify()
  void app.register(prudent, { service, prefix: '/', ...rest })
  return {
    ...{ app, scorer, service },
    async [Symbol.asyncDispose]() {
      await app.close()
      await service.dispose()
    },
  }
}

export interface ItemAnswer {
  index: number
  object?: string
  data?: number[] | string
  probs?: number[]
  label?: string | null
  num_classes?: number
  score?: number
  uncertainty: { mean: number; std: number | null; heads: number[] }
}

export interface ListAnswer {
  id: string
  object: string
  created: number
  model: string
  data: ItemAnswer[]
  usage: { prompt_tokens: number; total_tokens: number }
  error?: { message: string; type: string; param: string | null; code: number; reason: string }
}

export async function post(app: FastifyInstance, url: string, payload: unknown, headers: Record<string, string> = {}) {
  const answer = await app.inject({ method: 'POST', url, payload: payload as object, headers })
  return { status: answer.statusCode, headers: answer.headers, body: answer.json<ListAnswer>() }
}

/** Waits until `holds`; the test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}
