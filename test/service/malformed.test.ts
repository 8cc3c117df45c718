import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import fastify, { type FastifyInstance } from 'fastify'
import prudent from '../../ts/serve/fastify.js'
import { ENSEMBLE } from './apps.js'

jest.setTimeout(120_000)

let app: FastifyInstance
beforeAll(async () => {
  app = fastify()
  await app.register(prudent, { model: ENSEMBLE, dtype: 'float32', maxBodyBytes: 50_000, prefix: '/' })
  await app.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(() => app.close())

const JSON_TYPE = { 'content-type': 'application/json' }
interface Ask {
  name: string
  url: string
  payload: string | Buffer
  headers?: Record<string, string>
}

/** Values that are no input of anything. */
const WRONG = [
  null,
  true,
  1.5,
  -1,
  {},
  [],
  [[]],
  [null],
  [1, 'a'],
  [1.5],
  [-1],
  [2 ** 31],
  [[1], 'a'],
  [{ text: 'a' }],
  ['a', 1],
  '',
]
/** Values that are no list of messages. */
const NO_MESSAGES = [
  ...[null, 'a', [], {}, [null], ['a'], [{}], [{ role: 'user' }], [{ content: 'a' }], [{ role: 1, content: 'a' }]],
  ...[
    [{ role: 'user', content: 1 }],
    [{ role: 'user', content: [] }],
    [{ role: 'user', content: [{ type: 'image_url' }] }],
  ],
  ...[
    [{ role: 'system', content: 'a' }],
    [{ role: 'user', content: 'a', file: '/etc/passwd' }],
    [{ role: '', content: 'a' }],
  ],
]
const EXTRA = [
  ...[
    { path: '/etc/passwd' },
    { url: 'http://127.0.0.1' },
    { chat_template: '{{ 1 }}' },
    { model: 1 },
    { model: '/etc' },
  ],
  ...[{ truncate_prompt_tokens: 0 }, { truncate_prompt_tokens: '3' }, { priority: 1 }, { encoding_format: 'xml' }],
  ...[
    { add_special_tokens: 'yes' },
    { use_activation: 1 },
    { truncation_side: 'right' },
    { user: 'x'.repeat(300) },
    { dimensions: 3 },
  ],
]
const SCORES = [
  ...[
    {},
    { prompt: 'a' },
    { response: 'a' },
    { prompt: 1, response: 'a' },
    { prompt: 'a', response: 1 },
    { prompt: 'a', response: [] },
  ],
  ...[
    { text_1: ['a', 'b'], text_2: ['a', 'b', 'c'] },
    { text_1: ['a', 'b'], text_2: 'c' },
    { text_1: 'a' },
    { text_1: [], text_2: [] },
  ],
  ...[{ items: [] }, { items: 'a' }, { items: [{}] }, { items: [{ prompt: 'a' }] }, { items: [{ input_ids: [9999] }] }],
  ...[
    { items: [{ text: 'a', messages: [] }] },
    { prompt: 'a', response: 'b', lambda: 1 },
    { queries: 'a', documents: 1 },
  ],
]
const BROKEN = [
  ...[
    '',
    '{',
    '}',
    'null',
    '[]',
    '"a"',
    '1',
    '{"input":"a"',
    '{"input":"a"}}',
    '{"input":"a",}',
    "{'input':'a'}",
    'input=a',
    'NaN',
  ],
  ...[
    '{"input":"\\ud800',
    '{"__proto__":{"input":"a"}}',
    '{"input":"a","constructor":{"prototype":{}}}',
    '['.repeat(20_000),
  ],
]

function asks(): Ask[] {
  const json = (url: string, body: unknown, name = `${url} ${JSON.stringify(body)}`): Ask => ({
    ...{ name: name.slice(0, 80), url, payload: JSON.stringify(body), headers: JSON_TYPE },
  })
  return [
    ...WRONG.flatMap((input) => ['/pooling', '/classify'].map((url) => json(url, { input }))),
    ...NO_MESSAGES.map((messages) => json('/pooling', { messages })),
    ...EXTRA.map((extra) => json('/pooling', { input: 'a', ...extra })),
    ...SCORES.map((body) => json('/score', body)),
    ...BROKEN.map((payload) => ({
      name: `/pooling ${payload.slice(0, 40)}`,
      url: '/pooling',
      payload,
      headers: JSON_TYPE,
    })),
    { name: 'bytes', url: '/score', payload: Buffer.from([0xff, 0xfe, 0x00, 0x80]), headers: JSON_TYPE },
    { name: 'too large', url: '/pooling', payload: JSON.stringify({ input: 'a'.repeat(60_000) }), headers: JSON_TYPE },
    { name: 'text', url: '/pooling', payload: '{"input":"a"}', headers: { 'content-type': 'text/plain' } },
    {
      name: 'form',
      url: '/pooling',
      payload: 'input=a',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    },
    { name: 'no type', url: '/pooling', payload: '{"input":"a"}', headers: { 'content-type': '' } },
    { name: 'no route', url: '/poolings', payload: '{"input":"a"}', headers: JSON_TYPE },
  ]
}

async function goodOne(): Promise<number> {
  const answer = await app.inject({ method: 'POST', url: '/pooling', payload: { input: 'good' } })
  return answer.statusCode
}

test('a hundred malformed bodies get 4xx with a reason, and the good one after each a 200', async () => {
  const all = asks()
  expect(all.length).toBeGreaterThanOrEqual(100)
  for (const { name, url, payload, headers } of all) {
    const answer = await app.inject({ method: 'POST', url, payload, headers: headers ?? {} })
    expect({ name, kind: Math.floor(answer.statusCode / 100) }).toEqual({ name, kind: 4 })
    const { error } = answer.json<{ error: { message: string; code: number; reason: string } }>()
    expect(error).toMatchObject({
      message: expect.stringMatching(/./),
      code: answer.statusCode,
      reason: expect.stringMatching(/./),
    })
    expect(error.message.length).toBeLessThan(1000)
    expect({ after: name, status: await goodOne() }).toEqual({ after: name, status: 200 })
  }
})

const RAW = [
  'GARBAGE\r\n\r\n',
  'POST /pooling HTTP/1.1\r\nhost: a\r\ncontent-length: ten\r\n\r\n',
  'POST /pooling HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc',
  `GET /health HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
  'POST /pooling HTTP/9.9\r\n\r\n',
]

test.each(RAW.map((raw) => ({ raw, name: raw.slice(0, 60) })))('what is no HTTP gets 4xx: $name', async ({ raw }) => {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let said = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  // The server may close while the rest of a long header is still being sent.
  socket.on('error', () => {})
  socket.write(raw)
  await once(socket, 'close')
  expect(said === '' || /^HTTP\/1\.1 4\d\d /.test(said)).toBe(true)
  expect(await goodOne()).toBe(200)
})
