import { once } from 'node:events'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from '@jest/globals'
import { exactScores, POISON } from '../addon/exact-scorer.js'
import { exactApp, post, until } from './apps.js'

const body = (...ids: number[]) => ({ input: ids })

describe('a queue that is full', () => {
  test('refuses with 429 and Retry-After, and takes requests again afterwards', async () => {
    await using made = exactApp({ maxQueuedRequests: 2 })
    const open = made.scorer.hold()
    const taken = [post(made.app, '/pooling', body(1, 2)), post(made.app, '/pooling', body(3))]
    await until(() => made.service.statistics.inFlight === 2)
    const refused = await post(made.app, '/pooling', body(4))
    expect(refused).toMatchObject({ status: 429, body: { error: { reason: 'E_BUSY', type: 'RateLimitError' } } })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1)
    open()
    expect((await Promise.all(taken)).map(({ status }) => status)).toEqual([200, 200])
    expect((await post(made.app, '/pooling', body(4))).body.data[0]?.data).toEqual(exactScores([4]))
  })

  test('counts tokens too', async () => {
    await using made = exactApp({ maxQueuedTokens: 10, maxWaitMs: 0 })
    const open = made.scorer.hold()
    const row = (length: number) => Array.from({ length }, () => 1)
    const taken = [post(made.app, '/pooling', body(1))]
    await until(() => made.scorer.forwards.length === 1)
    taken.push(post(made.app, '/pooling', body(...row(8))))
    await until(() => made.service.statistics.waiting === 1)
    expect((await post(made.app, '/pooling', body(...row(3)))).status).toBe(429)
    open()
    expect((await Promise.all(taken)).map(({ status }) => status)).toEqual([200, 200])
  })
})

describe('a deadline', () => {
  test('ends the one request with 504; the others are answered', async () => {
    await using made = exactApp({ requestTimeoutMs: 60 })
    const open = made.scorer.hold()
    const late = await post(made.app, '/pooling', body(1, 2))
    expect(late).toMatchObject({ status: 504, body: { error: { reason: 'E_TIMEOUT', type: 'TimeoutError' } } })
    expect(made.service.statistics.inFlight).toBe(0)
    open()
    expect((await post(made.app, '/pooling', body(5))).status).toBe(200)
  })
})

describe('a client that goes away', () => {
  test('frees its place, and what waits for a forward leaves the line', async () => {
    await using made = exactApp({ maxWaitMs: 0 })
    await made.app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = made.app.server.address() as AddressInfo
    const open = made.scorer.hold()
    const ask = (ids: number[]) => {
      const asked = request({ port, method: 'POST', path: '/pooling', headers: { 'content-type': 'application/json' } })
      asked.on('error', () => {})
      asked.end(JSON.stringify({ input: ids }))
      return asked
    }
    const running = ask([1])
    await until(() => made.scorer.forwards.length === 1)
    const waiting = ask([2, 2])
    await until(() => made.service.statistics.waiting === 1)
    waiting.destroy()
    await until(() => made.service.statistics.waiting === 0)
    running.destroy()
    await until(() => made.service.statistics.inFlight === 0)
    open()
    expect((await post(made.app, '/pooling', body(7))).status).toBe(200)
    // Nothing was computed for the one that waited.
    expect(made.scorer.forwards).toEqual([[1], [1]])
  })
})

describe('a server that closes', () => {
  test('answers what is at work, refuses the rest, says that it is not ready', async () => {
    await using made = exactApp({ maxWaitMs: 0 })
    await made.app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = made.app.server.address() as AddressInfo
    const open = made.scorer.hold()
    const asked = fetch(`http://127.0.0.1:${port}/pooling`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body(1, 2, 3)),
    })
    await until(() => made.scorer.forwards.length === 1)
    const closed = made.app.close()
    await until(() => !made.service.ready)
    await expect(made.service.score([{ ids: [1] }])).rejects.toMatchObject({ code: 'E_DISPOSED' })
    open()
    expect((await asked).status).toBe(200)
    await closed
    await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow()
  })

  test('cancels what is at work when it is disposed of at once', async () => {
    await using made = exactApp({ maxWaitMs: 0 })
    const open = made.scorer.hold()
    const asked = post(made.app, '/pooling', body(1))
    await until(() => made.scorer.forwards.length === 1)
    const disposed = made.service.dispose()
    expect(await asked).toMatchObject({ status: 503, body: { error: { reason: 'E_DISPOSED' } } })
    open()
    await disposed
  })
})

describe('a request that asks for too much', () => {
  test.each([
    ['a body', { maxBodyBytes: 100 }, { input: 'a'.repeat(200) }, 413],
    ['items', { maxItems: 2 }, { input: [[1], [2], [3]] }, 400],
    ['tokens of an item', { maxTokensPerItem: 3 }, { input: [1, 2, 3, 4] }, 400],
    ['tokens of the model', {}, { input: Array.from({ length: 41 }, () => 1) }, 400],
    [
      'tokens of a request',
      { maxTokensPerRequest: 5 },
      {
        input: [
          [1, 2, 3],
          [1, 2, 3],
        ],
      },
      400,
    ],
    ['a vocabulary', {}, { input: [100] }, 400],
    ['a text of a model without a tokenizer', {}, { input: 'text' }, 400],
  ])('%s: refused, and the next one answered', async (_name, settings, payload, status) => {
    await using made = exactApp(settings)
    const refused = await post(made.app, '/pooling', payload)
    expect(refused.status).toBe(status)
    expect(refused.body.error?.message).toMatch(/./)
    expect(made.scorer.forwards).toEqual([])
    expect((await post(made.app, '/pooling', body(1))).status).toBe(200)
  })
})

test('what no caller can have caused is 500 without its message, and does not meet the others', async () => {
  await using made = exactApp({ maxWaitMs: 20 })
  const [bad, good] = await Promise.all([post(made.app, '/pooling', body(POISON)), post(made.app, '/pooling', body(1))])
  expect(bad.status).toBe(500)
  expect(JSON.stringify(bad.body)).not.toContain('poisoned')
  expect(good.body.data[0]?.data).toEqual(exactScores([1]))
})

test('wrong settings are refused by name', () => {
  expect(() => exactApp({ maxItems: 0 })).toThrow(expect.objectContaining({ code: 'E_CONFIG', argument: 'maxItems' }))
  expect(() => exactApp({ maxItmes: 1 } as object)).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
})

test('every timeout of the server of `prudent serve` is on', async () => {
  const { startServer } = await import('../../ts/serve/server.js')
  await using made = exactApp()
  const server = await startServer(made.service, { host: '127.0.0.1', port: 0 })
  const socket = request(`${server.url}/health`).end()
  const [answer] = await once(socket, 'response')
  answer.resume()
  const { headersTimeout, requestTimeout, keepAliveTimeout, timeout, maxConnections } = server.http
  for (const limit of [headersTimeout, requestTimeout, keepAliveTimeout, timeout, maxConnections])
    expect(limit).toBeGreaterThan(0)
  await server.close(1000)
})
