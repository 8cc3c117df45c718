/** The plugin inside an app of somebody else's. */
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import fastify, { type FastifyInstance } from 'fastify'
import prudent, { ScoringService } from '../../ts/serve/fastify.js'
import { ExactScorer } from '../addon/exact-scorer.js'

let host: FastifyInstance
let service: ScoringService
beforeEach(() => {
  host = fastify()
  service = new ScoringService({ name: 'exact', model: new ExactScorer(), tokenizer: null })
})
afterEach(async () => {
  await host.close()
  await service.dispose()
})

test("JSON alone is read, whatever the host's parsers read", async () => {
  const parsed = { input: [1, 2] }
  host.removeAllContentTypeParsers()
  for (const type of ['application/json', 'application/x-www-form-urlencoded', '*'])
    host.addContentTypeParser(type, { parseAs: 'string' }, (_request, _body, done) => done(null, parsed))
  host.post('/echo', async (request) => request.body)
  await host.register(prudent, { service, prefix: '/reward' })
  const ask = async (type: string, payload: string, url = '/reward/pooling') =>
    (await host.inject({ method: 'POST', url, payload, headers: { 'content-type': type } })).statusCode
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/xml']) {
    expect(await ask(type, '{"input":[1]}')).toBe(415)
    expect(await ask(type, 'input', '/echo')).toBe(200)
  }
  expect(await ask('application/json', '{"input":')).toBe(400)
  expect(await ask('application/json', '{"__proto__":{"input":[1]}}')).toBe(400)
  expect(await ask('application/json; charset=utf-8', '{"input":[1]}')).toBe(200)
})
