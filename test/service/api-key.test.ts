import { describe, expect, test } from '@jest/globals'
import { apiKeyChecker } from '../../ts/serve/api-key.js'
import { exactApp } from './apps.js'

const KEY = 'a key: with spaces? no'.replaceAll(' ', '-')
const ROUTES = ['/', '/v1/models', '/ready', '/metrics', '/openapi.json', '/nothing'].map(
  (url) => ({ method: 'GET', url }) as const,
)
const POSTS = ['/pooling', '/classify', '/score', '/v1/score'].map((url) => ({ method: 'POST', url }) as const)

describe('with a key', () => {
  test.each([...ROUTES, ...POSTS])('$method $url asks for it', async ({ method, url }) => {
    await using made = exactApp({}, { apiKey: KEY })
    const ask = (authorization?: string) =>
      made.app.inject({ method, url, headers: authorization === undefined ? {} : { authorization } })
    for (const wrong of [
      undefined,
      '',
      'Bearer',
      `Bearer ${KEY}x`,
      `Bearer ${KEY.slice(0, -1)}`,
      KEY,
      `Digest ${KEY}`,
    ]) {
      const answer = await ask(wrong)
      expect(answer.statusCode).toBe(401)
      expect(answer.headers['www-authenticate']).toMatch(/^(Bearer|Basic)/)
      expect(answer.body).not.toContain(KEY)
    }
    expect((await ask(`Bearer ${KEY}`)).statusCode).not.toBe(401)
    expect((await ask(`Basic ${Buffer.from(`anybody:${KEY}`).toString('base64')}`)).statusCode).not.toBe(401)
  })

  test('/health does not', async () => {
    await using made = exactApp({}, { apiKey: KEY })
    expect((await made.app.inject('/health')).statusCode).toBe(200)
  })

  test('a body is not read before the key is right', async () => {
    await using made = exactApp({ maxBodyBytes: 10 }, { apiKey: KEY })
    const payload = { input: 'a'.repeat(100) }
    expect((await made.app.inject({ method: 'POST', url: '/pooling', payload })).statusCode).toBe(401)
  })
})

test.each([
  ['', 'an empty text'],
  ['two words', 'U+0020 at position 4 of 9'],
  ['from-a-file\n', 'U+000A at position 12 of 12'],
  ['clé', 'U+00E9 at position 3 of 3'],
  [null as unknown as string, 'null'],
])('a key that no header can carry is refused: %j', async (apiKey, received) => {
  const made = exactApp({}, { apiKey })
  await expect(made.app.ready()).rejects.toMatchObject({ code: 'E_CONFIG', argument: 'apiKey', received })
  await made.service.dispose()
})

test('no header is not the key', () => {
  expect(apiKeyChecker('x')(undefined)).toBe(false)
})
