/** A run whose numbers stop being numbers, as a user meets it. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { DATA, type TrainRun, train, writeTinyConfig } from '../support/train-runs.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-guards-'))
  await writeTinyConfig(join(folder, 'gemma.json'), 'gemma')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function run(name: string, kind: TrainRun['kind'], config: object): TrainRun {
  const common = { saving: { everySteps: 1, keep: 2 }, dtype: 'float32' }
  return { kind, folder: join(folder, name), config: { ...config, ...common } }
}

test('a step size that breaks the weights: the step, the rows of its batch and the state before it', async () => {
  const base = run('base', 'language-model', {
    model: { config: join(folder, 'gemma.json'), seed: 3 },
    tokenizer: `${DATA}/tokenizers/scorer`,
    data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 40 }, maxLength: 24 },
    training: { batchSize: 4, steps: 2, optimiser: { lr: 1e-3 } },
  })
  expect((await train(base)).code).toBe(0)
  const broken = run('broken', 'reward', {
    model: join(base.folder, 'model'),
    data: { source: { path: `${DATA}/preferences/train.parquet`, limit: 40 }, maxLength: 48 },
    training: { batchSize: 4, steps: 8, optimiser: { lr: 1e30 }, schedule: { shape: 'constant' } },
  })
  const { code, stderr } = await train(broken)
  expect(code).toBe(1)
  const message =
    /error E_NON_FINITE: step (\d+): .*; its batch of 4: (.*?); .*failure holds .*; lower optimiser\.lr/.exec(stderr)
  expect(message).not.toBeNull()
  const [, step, rows] = message as unknown as [string, string, string]
  expect(rows.split(', ')).toHaveLength(4)
  for (const row of rows.split(', ')) expect(row).toMatch(/preferences\/train\.parquet:\d+$/)
  const kept = JSON.parse(await readFile(join(broken.folder, 'failure', 'failure.json'), 'utf8'))
  expect(kept).toMatchObject({ step: Number(step), code: 'E_NON_FINITE', rows: rows.split(', ') })
  expect(kept.metrics).toHaveLength(Number(step) - 1)
  expect((await readdir(join(broken.folder, 'failure', 'model'))).sort()).toEqual(['config.json', 'model.safetensors'])
  expect((await readdir(join(broken.folder, 'checkpoints'))).at(-1)).toBe(`step-${Number(step) - 1}`)
}, 60_000)
