/** The plugin inside an app of somebody else's. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import fastify, { type FastifyInstance } from 'fastify'
import prudent, { ScoringService } from '../../ts/serve/fastify.js'
import { startServer } from '../../ts/serve/server.js'
import { ExactScorer } from '../addon/exact-scorer.js'
import { ENSEMBLE } from './apps.js'

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

test('a packed body is told as such', async () => {
  await host.register(prudent, { service, prefix: '/reward' })
  const ask = (encoding: string) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
    return host.inject({ method: 'POST', url: '/reward/pooling', payload: '{"input":[1]}', headers })
  }
  const packed = await ask('gzip')
  expect(packed.statusCode).toBe(415)
  expect(packed.json().error.message).toBe('content-encoding: expected none, received "gzip"')
  expect((await ask('identity')).statusCode).toBe(200)
})

describe('the 404 of an app', () => {
  const answer = async (url: string) => (await host.inject(url)).body

  test.each(['before', 'after'])(
    'stays its own where the plugin has no prefix and comes %s its handler',
    async (when) => {
      const own = () => host.setNotFoundHandler((_request, reply) => reply.code(404).send('own'))
      if (when === 'after') own()
      await host.register(prudent, { service })
      if (when === 'before') own()
      expect(await answer('/nothing')).toBe('own')
      expect(await answer('/health')).toBe('{"status":"ok"}')
    },
  )

  test('is the plugin’s under its prefix alone', async () => {
    host.setNotFoundHandler((_request, reply) => reply.code(404).send('own'))
    await host.register(prudent, { service, prefix: '/reward' })
    expect(await answer('/reward/nothing')).toMatch(/there is no GET \/reward\/nothing/)
    expect(await answer('/nothing')).toBe('own')
  })
})

describe('a server that cannot start', () => {
  test('says so, and ends the service', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const failed = startServer(service, { host: '127.0.0.1', port })
    await expect(failed).rejects.toMatchObject({ code: 'E_IO', argument: 'port' })
    await expect(service.score([{ ids: [1] }])).rejects.toMatchObject({ code: 'E_DISPOSED' })
    other.close()
  })

  test('names the key that is none, not the address', async () => {
    const failed = startServer(service, { host: '127.0.0.1', port: 0, apiKey: '' })
    await expect(failed).rejects.toMatchObject({ code: 'E_CONFIG', argument: 'apiKey' })
  })
})

test.each([
  ['{\n  "model_type": "gemma",\n}', /config\.json:3: not JSON/],
  ['{\n  "model_type": "gemma"', /config\.json:2: not JSON/],
  ['[]', /config\.json: expected a JSON object/],
])('a model folder whose config.json is %j is refused, with file and line', async (text, message) => {
  const folder = await mkdtemp(join(tmpdir(), 'prudent-config-'))
  await cp(ENSEMBLE, folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), text)
  const loading = ScoringService.load(folder, { tokenizer: ENSEMBLE })
  await expect(loading).rejects.toMatchObject({ code: 'E_CORRUPT_FILE', message: expect.stringMatching(message) })
  await rm(folder, { recursive: true })
})
