import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { writeReport } from '../../ts/report/write-report.js'
import { summaryFixture } from './summary-fixture.js'

describe('writeReport', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'report-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('makes the page of a study from summary.json', async () => {
    await writeFile(join(folder, 'summary.json'), JSON.stringify(summaryFixture()))
    const path = await writeReport(folder)
    expect(path).toBe(join(folder, 'report.html'))
    expect(await readFile(path, 'utf8')).toContain('fixture &lt;study&gt;')
  })

  it('makes the page of a training run from metrics.jsonl, a torn last line left out', async () => {
    await writeFile(join(folder, 'metrics.jsonl'), '{"step":1,"loss":2}\n{"step":2,"loss":1}\n{"step":3,"lo')
    expect(await readFile(await writeReport(folder), 'utf8')).toContain('<svg')
  })

  it('names what is wrong: no run, a summary of another shape', async () => {
    await expect(writeReport(folder)).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    await expect(writeReport(join(folder, 'none'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    await writeFile(join(folder, 'summary.json'), JSON.stringify({ ...summaryFixture(), extra: 1 }))
    await expect(writeReport(folder)).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringMatching(/^.*extra.*$/),
    })
  })
})
