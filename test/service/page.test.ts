import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import fastify, { type FastifyInstance } from 'fastify'
import { type Browser, chromium, type Page } from 'playwright-core'
import prudent from '../../ts/serve/fastify.js'
import { findBrowser } from '../support/browser.js'
import { ENSEMBLE, post } from './apps.js'

jest.setTimeout(120_000)

const executablePath = findBrowser()
const describeInBrowser = executablePath === null ? describe.skip : describe
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } } as const

/** A dot of the plot, as it was drawn. */
interface Dot {
  response: string
  head: number
  score: number
  x: number
}

/** Runs in the page; text, because these tests are compiled without the browser's types. */
const DOTS = `[...document.querySelectorAll('#plot circle')].map((dot) => ({
  response: dot.classList.contains('A') ? 'A' : 'B',
  head: Number(dot.dataset.head),
  score: Number(dot.dataset.score),
  x: Number(dot.getAttribute('cx')),
}))`
const LAYOUT = `({
  viewport: window.innerWidth,
  pageWidth: document.documentElement.scrollWidth,
  outside: [...document.querySelectorAll('#plot circle')].filter((dot) => {
    const [plot, box] = [document.getElementById('plot').getBoundingClientRect(), dot.getBoundingClientRect()]
    return box.left < plot.left - 1 || box.right > plot.right + 1 || box.height < 2
  }).length,
})`

describeInBrowser('the page of the service in a browser', () => {
  let app: FastifyInstance
  let keyed: FastifyInstance
  let browser: Browser
  beforeAll(async () => {
    app = fastify()
    await app.register(prudent, { model: ENSEMBLE, dtype: 'float32', prefix: '/rewards' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    keyed = fastify()
    await keyed.register(prudent, { model: ENSEMBLE, dtype: 'float32', apiKey: 'key of the test' })
    await keyed.listen({ port: 0, host: '127.0.0.1' })
    browser = await chromium.launch({ executablePath: executablePath as string, args: ['--no-sandbox'] })
  })
  afterAll(async () => {
    await browser?.close()
    await app?.close()
    await keyed?.close()
  })

  const urlOf = (server: FastifyInstance) => `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`

  async function fill(page: Page, prompt: string, a: string, b: string): Promise<void> {
    await page.fill('#prompt', prompt)
    await page.fill('#a', a)
    await page.fill('#b', b)
    await page.click('#ask')
    // waitForFunction evaluates text in the page, which its policy forbids.
    await page.waitForSelector('#ask:not([disabled])')
  }

  test.each(['phone', 'desktop'] as const)(
    '%s: a dot for each head of either response, where its score belongs',
    async (size) => {
      const page = await browser.newPage({ viewport: SIZES[size] })
      const [requests, problems]: [string[], string[]] = [[], []]
      page.on('request', (request) => requests.push(new URL(request.url()).pathname))
      page.on('console', (message) => problems.push(message.text()))
      page.on('pageerror', (error) => problems.push(String(error)))
      await page.goto(`${urlOf(app)}/rewards/`)
      await fill(page, 'the', 'good', 'bad')
      expect(requests.filter((path) => path !== '/favicon.ico')).toEqual(['/rewards/', '/rewards/score'])
      expect(problems.filter((text) => !text.includes('favicon'))).toEqual([])

      const { body } = await post(app, '/rewards/score', { prompt: 'the', response: ['good', 'bad'] })
      const heads = body.data.map(({ uncertainty }) => uncertainty.heads) as [number[], number[]]
      const dots = (await page.evaluate(DOTS)) as Dot[]
      const scoresOf = (response: string) => dots.filter((dot) => dot.response === response).map(({ score }) => score)
      expect(scoresOf('A')).toEqual(heads[0])
      expect(scoresOf('B')).toEqual(heads[1])
      // One scale for both: position grows with the score by one factor.
      const [low, high] = [...dots]
        .sort((a, b) => a.score - b.score)
        .filter((_, at, all) => at === 0 || at === all.length - 1) as [Dot, Dot]
      const scale = (high.x - low.x) / (high.score - low.score)
      expect(scale).toBeGreaterThan(0)
      for (const { x, score } of dots) expect(x).toBeCloseTo(low.x + scale * (score - low.score), 6)
      const wins = heads[0].filter((score, head) => score > (heads[1][head] as number)).length
      expect(await page.textContent('#message')).toContain(`${wins} of ${heads[0].length} heads prefer A`)
      const layout = (await page.evaluate(LAYOUT)) as { viewport: number; pageWidth: number; outside: number }
      expect(layout.pageWidth).toBeLessThanOrEqual(layout.viewport)
      expect(layout.outside).toBe(0)
      await page.close()
    },
  )

  test('an answer that is none is said, and the next one drawn', async () => {
    const page = await browser.newPage()
    await page.goto(`${urlOf(app)}/rewards/`)
    await fill(page, 'the', 'good', 'bad '.repeat(5000))
    expect(await page.textContent('#message')).toMatch(/tokens/)
    expect(await page.evaluate(DOTS)).toEqual([])
    await fill(page, 'the', 'good', 'bad')
    expect(((await page.evaluate(DOTS)) as Dot[]).length).toBeGreaterThan(0)
    await page.close()
  })

  test('what the user types is text, never markup', async () => {
    const page = await browser.newPage()
    const problems: string[] = []
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('dialog', (dialog) => problems.push(dialog.message()))
    await page.goto(`${urlOf(app)}/rewards/`)
    await fill(page, '<img src=x onerror=alert(1)>', '</textarea><script>alert(2)</script>', 'bad')
    expect(problems).toEqual([])
    expect(await page.evaluate("document.querySelectorAll('main img, p img, svg script').length")).toBe(0)
    await page.close()
  })

  test('its policy lets it ask its own server alone', async () => {
    const asked: string[] = []
    const stranger = createServer((request, response) => {
      asked.push(request.url ?? '')
      response.setHeader('access-control-allow-origin', '*').end('{}')
    })
    stranger.listen(0, '127.0.0.1')
    await once(stranger, 'listening')
    const page = await browser.newPage()
    await page.goto(`${urlOf(app)}/rewards/`)
    const ask = (url: string) => page.evaluate(`fetch(${JSON.stringify(url)}).then((a) => a.status, () => 'refused')`)
    expect(await ask(`http://127.0.0.1:${(stranger.address() as AddressInfo).port}/`)).toBe('refused')
    expect(await ask(`${urlOf(app)}/rewards/health`)).toBe(200)
    expect(asked).toEqual([])
    await page.close()
    stranger.close()
  })

  test('behind a key the browser asks for it, and the page goes on with it', async () => {
    const context = await browser.newContext({ httpCredentials: { username: 'any', password: 'key of the test' } })
    const page = await context.newPage()
    expect((await page.goto(urlOf(keyed)))?.status()).toBe(200)
    await fill(page, 'the', 'good', 'bad')
    expect(((await page.evaluate(DOTS)) as Dot[]).length).toBeGreaterThan(0)
    const refused = await fetch(urlOf(keyed))
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="prudent"'])
    await context.close()
  })
})
