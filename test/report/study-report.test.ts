import { describe, expect, it } from '@jest/globals'
import { significant } from '../../ts/report/format.js'
import { escapeHtml, html, table } from '../../ts/report/markup.js'
import { studyReport } from '../../ts/report/study-report.js'
import { metricSeries, trainingReport } from '../../ts/report/training-report.js'
import { summarySchema } from '../../ts/study/summary.js'
import { summaryFixture } from './summary-fixture.js'

describe('study report', () => {
  it('renders every section of a valid summary as one page without script or network', async () => {
    const summary = summarySchema.parse(summaryFixture())
    const text = await studyReport(summary)
    for (const id of ['comparison', 'verdicts', 'gate', 'ppo', 'heads', 'models', 'run'])
      expect(text).toContain(`id="${id}"`)
    for (const label of ['Figure 1:', 'Figure 6:', 'Figure 7', 'Figure 8:', 'Figure 9:', 'Figure 10:', 'Figure 11:']) {
      expect(text).toContain(label)
    }
    expect(text).not.toMatch(/<script/i)
    const addresses = [...text.matchAll(/(?:src|href)="([^"#][^"]*)"/g)].map((m) => m[1])
    expect(addresses).toEqual([])
    expect(text).not.toMatch(/NaN|undefined|\[object/)
  })

  it('escapes what comes from data', async () => {
    const text = await studyReport(summarySchema.parse(summaryFixture()))
    expect(text).toContain('fixture &lt;study&gt;')
    expect(text).toContain('1 &amp; more &lt;b&gt;')
    expect(text).not.toContain('<author>')
  })

  it('says in the page what the numbers say', async () => {
    const summary = summaryFixture()
    const [verdict] = summary.verdicts.list
    if (!verdict) throw new Error('the fixture has a verdict')
    verdict.varianceRatio = { estimate: 0.4321, low: 0.1234, high: 0.8765 }
    const text = await studyReport(summarySchema.parse(summary))
    expect(text).toContain('0.432 [0.123, 0.876]')
    expect(await studyReport(summarySchema.parse(summaryFixture()))).not.toContain('0.432 [0.123')
  })

  it('shows every attempt of a refined beta and says in one sentence what was done', async () => {
    const text = await studyReport(summarySchema.parse(summaryFixture()))
    expect(text).toContain('β refined by the final KL of the compared policies')
    expect(text).toContain('more than 3.0 % off vanilla’s, β was moved and the method trained again')
    expect(text).toContain('at most 2 times')
    expect(text).toContain('trained again: 1 of 1, matched after it: 1')
    const attempts = [...text.matchAll(/<tr>(?:(?!<\/tr>).)*>(?:calibrated|refined \d)<.*?<\/tr>/gs)].map(
      ([row]) => row,
    )
    expect(attempts).toHaveLength(2)
    expect(attempts[0]).toContain('-6.5 % [-12.0 %, 2.0 %]')
    expect(attempts[1]).toContain('0.2811')
  })

  it('says so when no beta had to be refined, when none was allowed to, and nothing of older summaries', async () => {
    const summary = summaryFixture()
    const refinement = summary.calibration[1]?.refinement
    if (!refinement) throw new Error('the fixture has a refinement')
    refinement.attempts = refinement.attempts.slice(1)
    expect(await studyReport(summarySchema.parse(summary))).toContain('No method was trained again')
    refinement.limit = 0
    expect(await studyReport(summarySchema.parse(summary))).toContain('Refinement was off')
    const older = summary.calibration.map(({ refinement, ...calibrated }) => calibrated)
    const text = await studyReport(summarySchema.parse({ ...summary, calibration: older }))
    expect(text).not.toContain('β refined')
  })
})

describe('training report', () => {
  it('draws one chart for each metric that has more than one finite value', async () => {
    const lines = [
      { step: 1, loss: 2, once: 1, note: 'x' },
      { step: 2, loss: 1, bad: Number.NaN },
    ]
    expect(metricSeries(lines)).toEqual([
      {
        name: 'loss',
        points: [
          { step: 1, value: 2 },
          { step: 2, value: 1 },
        ],
      },
    ])
    const text = await trainingReport('a run', lines, 'seed: 1')
    expect(text.match(/<svg/g)).toHaveLength(1)
    expect(text).toContain('seed: 1')
  })
})

describe('markup', () => {
  it('escapes values and keeps markup', () => {
    expect(escapeHtml(`<a href='x'>&"`)).toBe('&lt;a href=&#39;x&#39;&gt;&amp;&quot;')
    expect(html`<p>${'<'}${html`<b>${1}</b>`}${[null, undefined, 'x']}</p>`.text).toBe('<p>&lt;<b>1</b>x</p>')
    expect(table([{ title: '<', cell: (x: number) => x }], [1]).text).toContain('<th>&lt;</th>')
  })
  it('prints significant digits', () => {
    expect([0, 0.0123456, 1.5, 123.4, 1234567, 0.00001].map((x) => significant(x))).toEqual([
      '0',
      '0.0123',
      '1.50',
      '123',
      '1.23e+6',
      '1.00e-5',
    ])
  })
})
