/** The end of `prudent serve`'s server: nobody is kept waiting, and nobody who waits is forgotten. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, jest, test } from '@jest/globals'
import { ScoringService } from '../../ts/serve/fastify.js'
import { type Server, startServer } from '../../ts/serve/server.js'
import { ExactScorer } from '../addon/exact-scorer.js'
import { type ListAnswer, until } from './apps.js'

jest.setTimeout(30_000)

interface Served {
  scorer: ExactScorer
  service: ScoringService
  server: Server
  ask(): Promise<Response>
}

async function serve(): Promise<Served> {
  const scorer = new ExactScorer()
  const service = new ScoringService({ name: 'exact', model: scorer, tokenizer: null, settings: { maxWaitMs: 0 } })
  const server = await startServer(service, { host: '127.0.0.1', port: 0 })
  const headers = { 'content-type': 'application/json' }
  const ask = () => fetch(`${server.url}/pooling`, { method: 'POST', headers, body: '{"input":[1,2]}' })
  return { scorer, service, server, ask }
}

async function connectTo({ server }: Served, text: string): Promise<Socket> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

test('connections that have asked nothing, or half of it, are not waited for', async () => {
  const served = await serve()
  const half = 'POST /pooling HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"inp'
  const sockets = [await connectTo(served, ''), await connectTo(served, half)]
  expect((await served.ask()).status).toBe(200)
  const started = performance.now()
  await served.server.close(20_000)
  expect(performance.now() - started).toBeLessThan(10_000)
  for (const socket of sockets) socket.destroy()
})

test('what comes while it closes is refused as everything else is, with when to come back', async () => {
  const served = await serve()
  const open = served.scorer.hold()
  const atWork = served.ask()
  await until(() => served.scorer.forwards.length === 1)
  const closed = served.server.close(20_000)
  await until(() => !served.service.ready)
  const refused = await served.ask()
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  expect((await refused.json()) as ListAnswer).toMatchObject({ error: { reason: 'E_DISPOSED', code: 503 } })
  const ready = await fetch(`${served.server.url}/ready`)
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'draining' }])
  open()
  expect((await atWork).status).toBe(200)
  await closed
})

test('a time to drain that no timer can hold is for ever, not at once', async () => {
  const served = await serve()
  const open = served.scorer.hold()
  const atWork = served.ask()
  await until(() => served.scorer.forwards.length === 1)
  const closed = served.server.close(2 ** 40)
  await new Promise((resolve) => setTimeout(resolve, 50))
  open()
  expect((await atWork).status).toBe(200)
  await closed
})

test('what is not answered in time is cancelled', async () => {
  const served = await serve()
  const open = served.scorer.hold()
  const atWork = served.ask()
  await until(() => served.scorer.forwards.length === 1)
  const closed = served.server.close(50)
  expect((await atWork).status).toBe(503)
  open()
  await closed
})
