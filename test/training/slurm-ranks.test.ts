import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { OneNodeSlurm, whyNoSlurm } from '../support/slurm.js'
import { DATA, steadyMetrics, writeTinyConfig } from '../support/train-runs.js'

const describeWithSlurm = whyNoSlurm() === null ? describe : describe.skip

describeWithSlurm('ranks of a Slurm job on one node', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'prudent-slurm-ranks-'))
  const slurm = new OneNodeSlurm(folder)
  beforeAll(() => slurm.start(), 60_000)
  afterAll(async () => {
    await slurm.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }, 60_000)

  test('the example trains on two tasks that meet each other', async () => {
    const launcher = `PRUDENT=${process.execPath} ${path.resolve('bin', 'prudent.js')}`
    const config = path.join(folder, 'run.yaml')
    await writeTinyConfig(path.join(folder, 'gpt2.json'), 'gpt2')
    await writeFile(
      config,
      toYaml({
        model: { config: path.join(folder, 'gpt2.json'), seed: 3 },
        tokenizer: `${DATA}/tokenizers/policy`,
        data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 40 }, maxLength: 32 },
        training: { batchSize: 6, steps: 5, optimiser: { lr: 1e-3 } },
        dtype: 'float32',
      }),
    )
    const output = path.join(folder, 'run')
    const job = slurm.submit([
      ...['--ntasks-per-node=2', '--cpus-per-task=1', `--export=ALL,MASTER_ADDR=127.0.0.1,${launcher}`],
      ...[`--chdir=${process.cwd()}`, `--output=${folder}/log`],
      ...['examples/slurm/train-ranks.sbatch', 'language-model', config, output],
    ])
    await slurm.finish(job)
    const log = readFileSync(path.join(folder, 'log'), 'utf8')
    expect(log).toMatch(/^2 ranks$/m)
    expect(log).toContain(`"output":"${output}","steps":5`)
    expect(steadyMetrics(output)).toHaveLength(5)
  }, 180_000)
})
