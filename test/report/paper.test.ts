import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { markdownTable } from '../../ts/report/markdown.js'
import { html } from '../../ts/report/markup.js'
import { page, section } from '../../ts/report/page.js'
import { type PaperRow, paperRows } from '../../ts/report/paper/rows.js'
import { writeReport } from '../../ts/report/write-report.js'
import { summaryFixture } from './summary-fixture.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-paper-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function put(name: string, summary: unknown, body = ''): Promise<string> {
  const into = join(folder, name)
  await mkdir(into)
  await writeFile(join(into, 'summary.json'), JSON.stringify(summary))
  if (body !== '') await writeFile(join(into, 'report.html'), page('x', section('own', 'Own', html`<p>${body}</p>`)))
  return into
}

const rowOf = (rows: readonly PaperRow[], item: string, quantity = '') =>
  rows.find((row) => row.item === item && row.quantity.includes(quantity)) as PaperRow

test('every figure and table of the paper has a row, in order, with the command that makes it', () => {
  const items = [...new Set(paperRows([]).map((row) => row.item))]
  const upTo = (kind: string, last: number) => Array.from({ length: last }, (_, i) => `${kind} ${i + 1}`)
  expect(items).toEqual([...upTo('Figure', 12), ...upTo('Table', 8)])
  for (const row of paperRows([])) {
    expect(row.ours).toBeNull()
    expect(row.command).toMatch(/^npx prudent \w+ /)
    expect(row.paper).not.toBe('')
  }
})

test('a study fills its rows from its own numbers', () => {
  const summary = summaryFixture()
  const rows = paperRows([{ kind: 'study', folder: 'runs/x', summary }])
  expect(rowOf(rows, 'Figure 10').ours).toBe('1.30 ± 0.100 / 1.30 ± 0.100')
  expect(rowOf(rows, 'Figure 7', 'vanilla').ours).toContain('true reward 0.300 / 0.0200 (12)')
  expect(rowOf(rows, 'Figure 12', 'vanilla').ours).toBeNull()
  expect(rowOf(rows, 'Figure 8', 'single').ours).toContain('stopped early')
  expect(rowOf(rows, 'Figure 7').command).toContain('runs/x')
  for (const arm of summary.arms) arm.policies = 100
  const larger = paperRows([{ kind: 'study', folder: 'runs/x', summary }])
  expect(rowOf(larger, 'Figure 12', 'vanilla').ours).not.toBeNull()
  expect(rowOf(larger, 'Figure 7', 'vanilla').ours).toBeNull()
})

test('summaries of other commands are read by the names of their numbers, wherever those stand', async () => {
  const theory = {
    kind: 'theory',
    deep: {
      settings: [
        { name: 'low', stdUnaware: 0.14, stdAware: 0.12, meanUnaware: 4.6412, meanAware: 4.642 },
        { name: 'high', stdUnaware: 0.13, stdAware: 0.04, meanUnaware: 4.643, meanAware: 4.644 },
      ],
    },
  }
  const bench = {
    kind: 'rewardbench',
    entries: [
      { name: '1', kind: 'head', overall: 0.1, sections: { 'chat-hard': 0.1 } },
      { name: '2', kind: 'head', overall: 0.1, sections: { 'chat-hard': 0.3 } },
      { name: 'alone', kind: 'single', overall: 0.1, sections: { 'chat-hard': 0.25 } },
      {
        kind: 'rule',
        name: 'mean',
        overall: 0.694,
        sections: { chat: 0.956, 'chat-hard': 0.445, safety: 0.559, reasoning: 0.818 },
      },
    ],
  }
  const sections = [{ section: 'chat', accepted: { mean: 4.2, median: 3.8, max: 9.9 } }]
  const variance = {
    kind: 'variance',
    command: 'npx prudent evaluate variance --model m',
    ensembles: [{ name: 'heads', pairScores: [0.5, -1.25, 2], sections }],
  }
  const study = await put('study', summaryFixture())
  const beside = [
    await put('t', theory, 'of theory'),
    await put('b', bench, 'of the benchmark'),
    await put('v', variance),
  ]
  const path = await writeReport(study, { beside })
  const { paper, sources } = JSON.parse(await readFile(join(study, 'report.json'), 'utf8')) as {
    paper: PaperRow[]
    sources: { kind: string }[]
  }
  expect(sources.map((source) => source.kind)).toEqual(['study', 'theory', 'rewardbench', 'variance'])
  expect(rowOf(paper, 'Figure 3').ours).toBe('0.13 / 0.040; 4.643 / 4.644')
  expect(rowOf(paper, 'Figure 4').ours).toBe('0.14 / 0.12; 4.641 / 4.642')
  expect(rowOf(paper, 'Table 1').ours).toBe('69.4 | 95.6 | 44.5 | 55.9 | 81.8 | –')
  expect(rowOf(paper, 'Figure 9', 'evaluate rewardbench').ours).toBe('chat-hard 10 % to 30 % (single 25 %)')
  expect(rowOf(paper, 'Figure 6', 'evaluate variance').ours).toBe('heads: chat mean 4.20, median 3.80, maximum 9.90')
  expect(rowOf(paper, 'Figure 1', 'evaluate variance').ours).toBe('heads: -1.25 to 2.00 over 3')
  // A summary knows the command that made it best.
  expect(rowOf(paper, 'Figure 6', 'evaluate variance').command).toBe(`${variance.command} --output ${beside[2]}`)
  const text = await readFile(path, 'utf8')
  expect(text).toContain('of theory')
  expect(text).toContain('of the benchmark')
  expect(text).not.toContain(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>x',
  )
  const markdown = await readFile(join(study, 'report.md'), 'utf8')
  expect(markdown).toContain('| Figure 3 | variances in (3, 100)')
  expect(markdown).toContain(`# Figure 1, Figure 6\n${variance.command} --output ${beside[2]}\n`)
  expect(markdown).toContain('fixture \\<study\\>')
})

test('what lies in folders of the study itself joins without being named', async () => {
  const study = await put('study', summaryFixture())
  await put('study/theory', { stdUnaware: 1.5, stdAware: 0.5, meanUnaware: 1, meanAware: 1 }, 'of theory')
  const text = await readFile(await writeReport(study), 'utf8')
  expect(text).toContain('of theory')
  expect(text).toContain('1.5 / 0.50; 1.000 / 1.000')
})

test('folders without a study make a page of their own; what is no result is refused by name', async () => {
  const theory = await put(
    't',
    { kind: 'theory', x: { stdUnaware: 1, stdAware: 1, meanUnaware: 1, meanAware: 1 } },
    'of theory',
  )
  const other = await put('o', { kind: 'something new' }, 'of another')
  const text = await readFile(await writeReport(theory, { beside: [other] }), 'utf8')
  expect(text).toContain('of another')
  await expect(writeReport(theory, { beside: [join(folder, 'none')] })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  await expect(writeReport(await put('broken', { a: 1 }))).rejects.toMatchObject({ code: 'E_CORRUPT_FILE' })
})

test('cells of a Markdown table cannot end it', () => {
  expect(markdownTable(['a', 'b'], [['x | y\nz', 1]], [1])).toBe('| a | b |\n| --- | ---: |\n| x \\| y z | 1 |\n')
})
