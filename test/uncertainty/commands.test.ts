import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { ScoringService } from '../../ts/serve/scoring-service.js'
import { jsonRows, runCommand } from '../support/run-command.js'
import { DATA, steadyMetrics, TINY, train } from '../support/train-runs.js'

const folder = mkdtempSync(path.join(tmpdir(), 'prudent-uncertainty-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const at = (...names: string[]) => path.join(folder, ...names)

async function writeModel(into: string, kind: 'gpt2' | 'gemma', heads?: number): Promise<void> {
  const tokenizer = path.join(DATA, 'tokenizers', kind === 'gpt2' ? 'policy' : 'scorer')
  const { model: words, added_tokens } = JSON.parse(readFileSync(path.join(tokenizer, 'tokenizer.json'), 'utf8'))
  const last = Math.max(Object.keys(words.vocab).length - 1, ...added_tokens.map(({ id }: { id: number }) => id))
  const layers = kind === 'gemma' ? { num_hidden_layers: 2 } : { bos_token_id: last, eos_token_id: last }
  const options = { dtype: 'float32', device: 'cpu', seed: 4 } as const
  const task = heads
    ? ({ task: 'sequence-classification', numLabels: heads, allowNewHead: true } as const)
    : ({ task: 'causal-lm' } as const)
  const config = JSON.stringify({ ...TINY[kind], vocab_size: last + 1, ...layers })
  const model = await loadAddon().createModel(config, { ...options, ...task })
  mkdirSync(into, { recursive: true })
  await model.save(into)
  await model.dispose()
  cpSync(tokenizer, into, { recursive: true })
}

const ensembleConfig = (uncertainty: object) => ({
  model: at('reward'),
  data: { source: { path: `${DATA}/preferences/train.parquet`, limit: 120 }, maxLength: 80 },
  heldOut: { fraction: 0.2 },
  training: { batchSize: 8, steps: 12, heads: 4, optimiser: { lr: 1e-3 } },
  uncertainty,
  dtype: 'float32',
})
const policyConfig = (model: string, uncertainty?: string) => ({
  model: at('policy'),
  scorer: { model, maxLength: 80, ...(uncertainty && { uncertainty }) },
  prompts: { source: { path: `${DATA}/imdb/train.parquet`, limit: 60 }, longerThan: 20 },
  ppo: {
    ...{ batchSize: 8, miniBatchSize: 8, ppoEpochs: 1, steps: 2, optimiser: { lr: 1e-3 } },
    objective: { kind: 'variance-kl', sigma: { center: 'reference' } },
    sampling: { maxNewTokens: 5 },
  },
  dtype: 'float32',
})
const trainEnsemble = (name: string, uncertainty: object) =>
  train({ kind: 'ensemble', folder: at(name), config: ensembleConfig(uncertainty) })

beforeAll(async () => {
  await writeModel(at('reward'), 'gemma', 1)
  await writeModel(at('policy'), 'gpt2')
})

test.each([
  [{ source: 'laplace' }, 1],
  [{ source: 'dropout', rate: 0.2, passes: 6 }, 1],
  [{ source: 'layers', layers: [1, 2] }, 4],
  [{ source: 'anchored-bootstrap' }, 4],
] as const)(
  'trained, scored and taken by PPO from one config: %j',
  async (uncertainty, heads) => {
    const name = uncertainty.source
    const trained = await trainEnsemble(name, uncertainty)
    expect({ code: trained.code, stderr: trained.code === 0 ? '' : trained.stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(trained.stdout)).toMatchObject({ heads, uncertainty: { source: name } })
    const model = at(name, 'model')

    writeFileSync(at('rows.jsonl'), '{"prompt": "a film", "response": "it was good"}\n{"text": "bad"}\n')
    const files = ['--input', at('rows.jsonl'), '--output', '-']
    const scored = await runCommand(['score', '--model', model, ...files, '--dtype', 'float32'])
    expect({ code: scored.code, stderr: scored.code === 0 ? '' : scored.stderr }).toMatchObject({ code: 0 })
    const rows = jsonRows(scored.stdout) as { scores: number[]; std: number }[]
    for (const row of rows) {
      expect(row.scores).toHaveLength(heads)
      expect(row.std).toBeGreaterThan(0)
    }

    const policy = await train({ kind: 'policy', folder: at(`${name}-policy`), config: policyConfig(model, name) })
    expect({ code: policy.code, stderr: policy.code === 0 ? '' : policy.stderr }).toMatchObject({ code: 0 })
    for (const entry of steadyMetrics(at(`${name}-policy`))) {
      expect(entry['objective/sigma_mean'] as number).toBeGreaterThan(0)
      expect(entry['objective/sigma_std'] as number).toBeGreaterThan(0)
    }
  },
  120_000,
)

test('a service answers with the sigma of the source', async () => {
  const service = await ScoringService.load(at('laplace', 'model'), { dtype: 'float32' })
  await using model = await RewardModel.load(at('laplace', 'model'), { dtype: 'float32' })
  const { rows } = await service.score([{ ids: [5, 6, 7] }])
  expect(rows).toEqual(await model.score({ ids: [[5, 6, 7]] }))
  expect(rows[0]?.std).toBeGreaterThan(0)
  await service.dispose()
})

test('PPO is refused a source that its scorer was not trained with', async () => {
  const wrong = await train({
    kind: 'policy',
    folder: at('wrong'),
    config: policyConfig(at('laplace', 'model'), 'dropout'),
  })
  expect(wrong.code).not.toBe(0)
  expect(wrong.stderr).toMatch(/scorer\.uncertainty: expected laplace/)
}, 60_000)

test('layers that the base has not are refused before any work', async () => {
  const wrong = await trainEnsemble('too-deep', { source: 'layers', layers: [1, 3] })
  expect(wrong.code).not.toBe(0)
  expect(wrong.stderr).toMatch(/uncertainty\.layers: expected ascending numbers that end with 2/)
}, 60_000)
