/** The OpenAPI 3.1 document of a service, made from the schemas that requests are held to. */
import { z } from 'zod'
import { requestSchemas } from './schemas.js'
import type { ScoringService } from './scoring-service.js'

type Json = Record<string, unknown>

const uncertainty = z.object({
  mean: z.number().describe('Mean of the heads.'),
  std: z
    .number()
    .nullable()
    .describe('Sigma of the uncertainty source; without one over the heads, ddof 1, and null for one head.'),
  heads: z.array(z.number()).describe('Score of every head, without activation.'),
})
const usage = z.object({
  prompt_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens: z.int(),
  prompt_tokens_details: z.null(),
})

function listOf(item: Record<string, z.ZodType>) {
  return z.object({
    id: z.string(),
    object: z.literal('list'),
    created: z.int(),
    model: z.string(),
    data: z.array(z.object({ index: z.int(), ...item, uncertainty })),
    usage,
  })
}

const answers = {
  PoolingResponse: listOf({ object: z.literal('pooling'), data: z.union([z.array(z.number()), z.string()]) }),
  ClassifyResponse: listOf({ label: z.string().nullable(), probs: z.array(z.number()), num_classes: z.int() }),
  ScoreResponse: listOf({ object: z.literal('score'), score: z.number() }),
  Error: z.object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.int().describe('The HTTP status.'),
      reason: z.string().describe("prudent's error code."),
    }),
  }),
}

const toJson = (schema: z.ZodType): Json => {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input' }) as Json
  return json
}
const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const jsonOf = (schema: Json): Json => ({ 'application/json': { schema } })

const failures: Json = Object.fromEntries(
  [
    ['400', 'The body is not valid; `param` names the key.'],
    ['401', 'The API key is missing or wrong.'],
    ['404', 'The model does not exist.'],
    ['413', 'The body is too large.'],
    ['415', 'The body is not JSON.'],
    ['429', 'The queue is full; Retry-After says when to try again.'],
    ['503', 'The service is shutting down.'],
    ['504', 'The deadline has passed.'],
  ].map(([status, description]) => [status, { description, content: jsonOf(reference('Error')) }]),
)

export function openApiDocument(service: ScoringService, keyed: boolean): Json {
  const schemas = requestSchemas(service.settings)
  const requests = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [pascal(name), toJson(schema)]))
  const responses = Object.fromEntries(Object.entries(answers).map(([name, schema]) => [name, toJson(schema)]))
  const scoring = (summary: string, names: string[], answer: string): Json => ({
    post: {
      summary,
      requestBody: { required: true, content: jsonOf({ anyOf: names.map(reference) }) },
      responses: { '200': { description: 'OK', content: jsonOf(reference(answer)) }, ...failures },
    },
  })
  const get = (summary: string, type = 'application/json', rest: Json = {}): Json => ({
    get: { summary, responses: { '200': { description: 'OK', content: { [type]: {} } } }, ...rest },
  })
  const score = scoring(
    'Mean score of responses',
    ['ScoreTexts', 'ScorePrompt', 'ScoreMessages', 'ScoreItems'],
    'ScoreResponse',
  )
  return {
    openapi: '3.1.0',
    info: { title: 'prudent', version: '1', description: 'Reward models with error bars.' },
    ...(keyed ? { security: [{ bearer: [] }, { basic: [] }] } : {}),
    paths: {
      '/pooling': scoring('Scores of all heads', ['PoolingInput', 'PoolingChat'], 'PoolingResponse'),
      '/classify': scoring('Probabilities of all heads', ['ClassifyInput', 'ClassifyChat'], 'ClassifyResponse'),
      '/score': score,
      '/v1/score': score,
      '/v1/models': get('The model that is served'),
      '/health': get('200 while the process answers', 'application/json', { security: [] }),
      '/ready': get('200 while requests are taken, 503 afterwards'),
      '/metrics': get('Counts for Prometheus', 'text/plain'),
      '/openapi.json': get('This document'),
      '/': get('A page to compare two responses', 'text/html'),
    },
    components: {
      schemas: { ...requests, ...responses },
      ...(keyed
        ? { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' }, basic: { type: 'http', scheme: 'basic' } } }
        : {}),
    },
  }
}

function pascal(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1)
}
