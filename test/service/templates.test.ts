import { afterEach, describe, expect, test } from '@jest/globals'
import { ScoringService, type ServiceOptions } from '../../ts/serve/fastify.js'
import { TemplateRenderer } from '../../ts/serve/template-renderer.js'
import { ENSEMBLE } from './apps.js'

const hello = [[{ role: 'user', content: 'hello' }]]
const ENDLESS = '{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}'

let renderer: TemplateRenderer
const rendererWith = (template: string, rest: { timeoutMs?: number; maxCharacters?: number } = {}) => {
  renderer = new TemplateRenderer({
    ...{ sources: new Map([['default', template]]), origin: 'test', timeoutMs: 5000, maxCharacters: 1000 },
    ...rest,
  })
  return renderer
}
const job = (rest: { template?: string } = {}) => ({
  conversations: hello,
  addGenerationPrompt: false,
  specialTokens: { bos_token: '<s>' },
  ...rest,
})
afterEach(() => renderer?.dispose())

const OWN = '{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}'

describe('a chat template in its thread', () => {
  test('is rendered, one text a conversation', async () => {
    expect(await rendererWith(OWN).render(job())).toEqual(['<s>user: hello'])
  })

  test('that does not end is ended at its deadline; those that wait are rendered by the next thread', async () => {
    rendererWith(OWN, { timeoutMs: 300 })
    const endless = renderer.render(job({ template: ENDLESS }))
    const next = renderer.render(job())
    await expect(endless).rejects.toMatchObject({ code: 'E_TIMEOUT' })
    expect(await next).toEqual(['<s>user: hello'])
  })

  test('that writes too much is refused', async () => {
    rendererWith('{% for a in range(500) %}abc{% endfor %}')
    await expect(renderer.render(job())).rejects.toMatchObject({ code: 'E_TOO_LONG' })
    await expect(renderer.render(job({ template: '{{ nothing(' }))).rejects.toMatchObject({ code: 'E_CONFIG' })
    await expect(renderer.render(job({ template: "{{ raise_exception('no') }}" }))).rejects.toMatchObject({
      code: 'E_DATA',
    })
    expect(await renderer.render(job({ template: OWN }))).toEqual(['<s>user: hello'])
  })

  test('that fills the memory ends its thread and nothing else', async () => {
    const greedy =
      "{% set ns = namespace(all=[]) %}{% for a in range(99999999) %}{% set ns.all = ns.all + ['x' + a|string] %}{% endfor %}"
    rendererWith(OWN, { timeoutMs: 20_000 })
    await expect(renderer.render(job({ template: greedy }))).rejects.toMatchObject({
      code: expect.stringMatching(/^E_(TOO_LONG|TIMEOUT|DATA)$/),
    })
    expect(await renderer.render(job())).toEqual(['<s>user: hello'])
  }, 60_000)

  test('that nobody waits for any more is not rendered', async () => {
    rendererWith(OWN)
    const stop = new AbortController()
    const waiting = renderer.render(job(), stop.signal)
    stop.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'E_CANCELLED' })
    expect(await renderer.render(job())).toEqual(['<s>user: hello'])
  })
})

describe('a template that a request brings', () => {
  const load = (settings: ServiceOptions) => ScoringService.load(ENSEMBLE, { dtype: 'float32', ...settings })
  const bodyWith = (chat_template: string) => ({ messages: hello[0], chat_template })

  test('is refused unless the service is told to take it', async () => {
    const { default: fastify } = await import('fastify')
    const { default: prudent } = await import('../../ts/serve/fastify.js')
    for (const trusted of [false, true]) {
      await using service = await load({ trustRequestChatTemplate: trusted, templateTimeoutMs: 300 })
      const app = fastify()
      await app.register(prudent, { service })
      const ask = (payload: object) => app.inject({ method: 'POST', url: '/pooling', payload })
      expect((await ask(bodyWith(OWN))).statusCode).toBe(trusted ? 200 : 400)
      expect((await ask(bodyWith(ENDLESS))).statusCode).toBe(trusted ? 504 : 400)
      expect((await ask({ messages: hello[0] })).statusCode).toBe(200)
      await app.close()
    }
  })
})
