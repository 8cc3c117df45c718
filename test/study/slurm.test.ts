import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { summarySchema } from '../../ts/study/summary.js'
import { OneNodeSlurm, whyNoSlurm } from '../support/slurm.js'

const describeWithSlurm = whyNoSlurm() === null ? describe : describe.skip

describeWithSlurm('a Slurm array on one node', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'prudent-slurm-'))
  const slurm = new OneNodeSlurm(folder)
  beforeAll(() => slurm.start(), 60_000)
  afterAll(async () => {
    await slurm.stop()
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  test('the example runs the smoke study in four tasks of which two fit at once, and every task ends with 0', async () => {
    const launcher = `PRUDENT=${process.execPath} ${path.resolve('bin', 'prudent.js')}`
    const output = path.join(folder, 'run')
    const job = slurm.submit([
      ...['--array=3-9:2', '--cpus-per-task=1', `--export=ALL,${launcher}`],
      ...[`--chdir=${process.cwd()}`, `--output=${folder}/task-%a.log`],
      ...['examples/slurm/study-array.sbatch', 'configs/laptop-smoke.yaml', output],
      ...['--set', 'executor.lanes=1'],
    ])
    await slurm.finish(job)
    const logs = readdirSync(folder).filter((name) => name.startsWith('task-'))
    const texts = logs.sort().map((name) => readFileSync(path.join(folder, name), 'utf8'))
    expect(texts.map((text) => /^shard (\d) of 4/m.exec(text)?.[1])).toEqual(['0', '1', '2', '3'])
    for (const text of texts) expect(text).toContain(path.join(output, 'report.html'))
    const summary = summarySchema.parse(JSON.parse(readFileSync(path.join(output, 'summary.json'), 'utf8')))
    expect(summary.arms.map((arm) => arm.policies)).toEqual(summary.arms.map(() => 6))
  }, 300_000)
})
