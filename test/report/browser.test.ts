import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Browser, chromium, type Page } from 'playwright-core'
import { writeReport } from '../../ts/report/write-report.js'
import { findBrowser } from '../support/browser.js'
import { summaryFixture } from './summary-fixture.js'

const executablePath = findBrowser()
const describeInBrowser = executablePath === null ? describe.skip : describe

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } } as const

describeInBrowser('the report in a browser', () => {
  let folder: string
  let browser: Browser
  let file: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'prudent-browser-'))
    file = process.env.PRUDENT_REPORT ?? (await fixtureReport(folder))
    browser = await chromium.launch({ executablePath: executablePath as string, args: ['--no-sandbox'] })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const cases = (['phone', 'desktop'] as const).flatMap((size) =>
    (['light', 'dark'] as const).map((scheme) => [size, scheme] as const),
  )
  test.each(cases)(
    '%s, %s: asks for nothing, overflows nowhere, is readable',
    async (size, scheme) => {
      const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, javaScriptEnabled: true })
      const page = await context.newPage()
      const [requests, problems]: [string[], string[]] = [[], []]
      page.on('request', (request) => requests.push(request.url()))
      page.on('console', (message) => problems.push(message.text()))
      page.on('pageerror', (error) => problems.push(String(error)))
      await page.goto(pathToFileURL(resolve(file)).href)
      expect(requests).toEqual([pathToFileURL(resolve(file)).href])
      expect(problems).toEqual([])
      const layout = await measure(page)
      // Wide tables and figures scroll inside themselves.
      expect(layout.pageWidth).toBeLessThanOrEqual(layout.viewport)
      expect(layout.escaping).toEqual([])
      expect(layout.figures).toBeGreaterThan(3)
      expect(layout.emptyFigures).toBe(0)
      expect(layout.deadLinks).toEqual([])
      // WCAG AA for text.
      expect(layout.contrast).toBeGreaterThan(4.5)
      expect(layout.ground < 0.5).toBe(scheme === 'dark')
      const shots = process.env.PRUDENT_SCREENSHOTS
      if (shots) {
        await mkdir(shots, { recursive: true })
        await page.screenshot({ path: join(shots, `${size}-${scheme}.png`), fullPage: true })
      }
      await context.close()
    },
    60_000,
  )

  test('the checks see an overflow, a dead link and pale text', async () => {
    const page = await browser.newPage({ viewport: SIZES.phone })
    await page.setContent(
      '<body style="color:#ccc;background:#fff"><a href="#none">x</a><div style="width:900px">wide</div><figure></figure></body>',
    )
    const layout = await measure(page)
    expect(layout.escaping).toHaveLength(1)
    expect(layout.pageWidth).toBeGreaterThan(layout.viewport)
    expect(layout.deadLinks).toEqual(['#none'])
    expect(layout.emptyFigures).toBe(1)
    expect(layout.contrast).toBeLessThan(4.5)
    await page.close()
  })
})

async function fixtureReport(folder: string): Promise<string> {
  await writeFile(join(folder, 'summary.json'), JSON.stringify(summaryFixture()))
  return writeReport(folder)
}

/** Runs in the page; text, because these tests are compiled without the browser's types. */
const MEASURE = `(() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const all = (selector) => [...document.querySelectorAll(selector)]
  const body = getComputedStyle(document.body)
  const ground = luminance(body.backgroundColor)
  const contrastOf = (element) => {
    const ink = luminance(getComputedStyle(element).color)
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)
  }
  const scrolls = (element) => element.closest('.scroll, pre, details:not([open])') !== null
  const texts = all('body, p, td, th, figcaption, .word, .passed, .failed').filter((e) => e.innerText?.trim() || e === document.body)
  return {
    viewport: window.innerWidth,
    pageWidth: document.documentElement.scrollWidth,
    escaping: all('body *').filter((e) => !scrolls(e) && e.getBoundingClientRect().right > window.innerWidth + 1).map((e) => e.tagName),
    figures: all('figure svg').length,
    emptyFigures: all('figure').filter((f) => !f.querySelector('svg') || f.querySelector('svg').getBoundingClientRect().height < 20).length,
    deadLinks: all('a[href^="#"]').map((a) => a.getAttribute('href')).filter((href) => !document.getElementById(href.slice(1))),
    contrast: Math.min(...texts.map(contrastOf)),
    ground,
  }
})()`

interface Layout {
  viewport: number
  pageWidth: number
  escaping: string[]
  figures: number
  emptyFigures: number
  deadLinks: string[]
  contrast: number
  ground: number
}

const measure = (page: Page): Promise<Layout> => page.evaluate(MEASURE) as Promise<Layout>
