import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import fastify, { type FastifyInstance } from 'fastify'
import prudent from '../../ts/serve/fastify.js'
import { jsonRows, runCommand } from '../support/run-command.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { ENSEMBLE, post } from './apps.js'

interface Expected {
  input: { text?: string; prompt?: string; response?: string; messages?: object[]; input_ids?: number[] }
  scores: number[]
  mean: number
  std: number
}

jest.setTimeout(120_000)

let app: FastifyInstance
let expected: Expected[]
beforeAll(async () => {
  app = fastify()
  await app.register(prudent, { model: ENSEMBLE, dtype: 'float32' })
  expected = JSON.parse(await readFile(join(ENSEMBLE, 'expected.json'), 'utf8'))
})
afterAll(() => app.close())

const texts = () => expected.filter((row) => row.input.text !== undefined)

describe('scores', () => {
  test('are those of transformers and of `prudent score`, in every form of input', async () => {
    const { status, body } = await post(app, '/score', { items: expected.map((row) => row.input) })
    expect(status).toBe(200)
    const input = expected.map((row) => `${JSON.stringify(row.input)}\n`).join('')
    const command = await runCommand(['score', '--model', ENSEMBLE, '--input', '-', '--output', '-'], { input })
    const rows = jsonRows<{ scores: number[]; mean: number; std: number }>(command.stdout)
    expect(rows).toHaveLength(expected.length)
    const heads = body.data.flatMap((item) => item.uncertainty.heads)
    const reference = expected.flatMap((row) => row.scores)
    expect(relativeError(heads, reference)).toBeLessThan(tolerances.modelOutput)
    expect(
      relativeError(
        heads,
        rows.flatMap((row) => row.scores),
      ),
    ).toBeLessThan(tolerances.batching)
    expect(body.data.map((item) => item.score)).toEqual(body.data.map((item) => item.uncertainty.mean))
    expect(
      relativeError(
        body.data.map((item) => item.uncertainty.std as number),
        rows.map((row) => row.std),
      ),
    ).toBeLessThan(tolerances.batching)
    // The twin that must fail: another row's scores.
    expect(relativeError(heads.slice(0, 10), reference.slice(10, 20))).toBeGreaterThan(tolerances.modelOutput * 10)
  })

  test('of messages, of a prompt with responses and of vLLM’s two texts are the same thing', async () => {
    const [prompt, response] = ['What is new?', 'Nothing.']
    const messages = [
      { role: 'user', content: prompt },
      { role: 'assistant', content: [{ type: 'text', text: response }] },
    ]
    const bodies = [
      { messages },
      { prompt, response },
      { prompt: [messages[0]], response: [response] },
      { text_1: prompt, text_2: [response] },
      { queries: prompt, documents: response },
      { data_1: [prompt], data_2: [response] },
      { items: [{ prompt, response }] },
    ]
    const answers = await Promise.all(bodies.map((body) => post(app, '/score', body)))
    expect(answers.map((answer) => answer.status)).toEqual(bodies.map(() => 200))
    const first = answers[0]?.body.data[0]?.uncertainty.heads as number[]
    for (const { body } of answers)
      expect(relativeError(body.data[0]?.uncertainty.heads as number[], first)).toBeLessThan(tolerances.batching)
    const { body: chat } = await post(app, '/pooling', { messages })
    expect(relativeError(chat.data[0]?.data as number[], first)).toBeLessThan(tolerances.batching)
    const { body: several } = await post(app, '/v1/score', { prompt, response: ['Something else.', response] })
    expect(relativeError(several.data[1]?.uncertainty.heads as number[], first)).toBeLessThan(tolerances.batching)
    expect(relativeError(several.data[0]?.uncertainty.heads as number[], first)).toBeGreaterThan(0.01)
  })
})

describe('vLLM’s shapes', () => {
  test('of /pooling: raw scores, as numbers or base64', async () => {
    const input = texts().map((row) => row.input.text)
    const { body } = await post(app, '/pooling', { model: 'gemma-ensemble', input })
    expect(body).toMatchObject({
      object: 'list',
      model: 'gemma-ensemble',
      id: expect.stringMatching(/^pool-[0-9a-f]{32}$/),
    })
    expect(body.data.map(({ index, object }) => ({ index, object }))).toEqual(
      input.map((_, index) => ({ index, object: 'pooling' })),
    )
    expect(body.data[0]?.data).toEqual(body.data[0]?.uncertainty.heads)
    expect(body.usage).toMatchObject({ total_tokens: body.usage.prompt_tokens, completion_tokens: 0 })
    const encoded = await post(app, '/pooling', { input, encoding_format: 'base64' })
    const bytes = Buffer.from(encoded.body.data[0]?.data as string, 'base64')
    const values = Array.from({ length: 10 }, (_, at) => bytes.readFloatLE(at * 4))
    expect(relativeError(values, body.data[0]?.data as number[])).toBeLessThan(tolerances.batching)
  })

  test('of /classify: a probability a head, the name of the highest', async () => {
    const { body } = await post(app, '/classify', { input: texts()[0]?.input.text })
    const [item] = body.data
    const probs = item?.uncertainty.heads.map((score) => 1 / (1 + Math.exp(-score))) as number[]
    expect(item).toMatchObject({ index: 0, probs, num_classes: 10 })
    expect(item?.label).toBe(`LABEL_${probs.indexOf(Math.max(...probs))}`)
    const raw = await post(app, '/classify', { input: texts()[0]?.input.text, use_activation: false })
    expect(raw.body.data[0]?.probs).toEqual(raw.body.data[0]?.uncertainty.heads)
  })

  test('of ids, special tokens and truncation', async () => {
    const ids = [2, 40, 41, 42, 43]
    const { body: whole } = await post(app, '/pooling', { input: ids })
    const { body: list } = await post(app, '/pooling', { input: [ids, ids.slice(2)] })
    const { body: cut } = await post(app, '/pooling', { input: ids, truncate_prompt_tokens: 3 })
    expect(whole.usage.prompt_tokens).toBe(5)
    expect(list.data).toHaveLength(2)
    expect(cut.usage.prompt_tokens).toBe(3)
    expect(relativeError(cut.data[0]?.data as number[], list.data[1]?.data as number[])).toBeLessThan(
      tolerances.batching,
    )
    const text = 'The film was a quiet delight.'
    const { body: special } = await post(app, '/pooling', { input: text })
    const { body: bare } = await post(app, '/pooling', { input: text, add_special_tokens: false })
    expect(special.usage.prompt_tokens - bare.usage.prompt_tokens).toBe(1)
    // The model has 96 positions.
    const tooLong = await post(app, '/pooling', { input: 'a b '.repeat(200) })
    expect(tooLong).toMatchObject({ status: 400, body: { error: { reason: 'E_TOO_LONG', type: 'BadRequestError' } } })
    const { body: truncated } = await post(app, '/pooling', { input: 'a b '.repeat(200), truncate_prompt_tokens: -1 })
    expect(truncated.usage.prompt_tokens).toBe(96)
  })

  test('of a model that is not served', async () => {
    const { status, body } = await post(app, '/pooling', { model: '../other', input: 'a' })
    expect(status).toBe(404)
    expect(body.error).toMatchObject({ type: 'NotFoundError', code: 404, param: 'model' })
  })
})

describe('what a service says of itself', () => {
  test('models, health, readiness, counts', async () => {
    const models = await app.inject('/v1/models')
    expect(models.json()).toMatchObject({
      object: 'list',
      data: [{ id: 'gemma-ensemble', object: 'model', owned_by: 'prudent', max_model_len: 96, heads: 10 }],
    })
    expect((await app.inject('/health')).statusCode).toBe(200)
    expect((await app.inject('/ready')).json()).toEqual({ status: 'ready' })
    await post(app, '/pooling', { input: 'counted' })
    const { body, headers } = await app.inject('/metrics')
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(body).toMatch(/^prudent_http_requests_total\{route="\/pooling",status="200"\} [1-9]\d*$/m)
    expect(body).toMatch(/^prudent_forwards_total [1-9]\d*$/m)
    // Every sample has a type before it, and every line is one of the three forms of the format.
    for (const line of body.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [-+\d.eE]+)$/)
  })

  test('an OpenAPI document with every route, whose references all resolve', async () => {
    const document = (await app.inject('/openapi.json')).json()
    expect(document.openapi).toBe('3.1.0')
    const routes = [
      '/',
      '/classify',
      '/health',
      '/metrics',
      '/openapi.json',
      '/pooling',
      '/ready',
      '/score',
      '/v1/models',
      '/v1/score',
    ]
    expect(Object.keys(document.paths).sort()).toEqual(routes)
    const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1])
    expect(names.length).toBeGreaterThan(10)
    for (const name of names) expect(document.components.schemas).toHaveProperty(name as string)
  })

  test('stays under its prefix, beside the routes of the host', async () => {
    const host = fastify()
    await host.register(prudent, { model: ENSEMBLE, dtype: 'float32', name: 'judge', prefix: '/reward' })
    host.post('/echo', async (request) => request.body)
    const { body } = await post(host, '/reward/score', { prompt: 'a', response: 'b' })
    expect(body).toMatchObject({ model: 'judge', object: 'list' })
    expect(
      (await host.inject({ method: 'POST', url: '/echo', payload: 'text', headers: { 'content-type': 'text/plain' } }))
        .body,
    ).toBe('text')
    expect((await host.inject('/nothing')).json()).toMatchObject({ statusCode: 404 })
    await host.close()
  })
})
