import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { Policy } from '../../ts/addon/policy.js'
import { type Objective, type ObjectiveOutput, trainPolicy } from '../../ts/policy/index.js'
import { DATA, TINY } from '../support/train-runs.js'

const folder = mkdtempSync(path.join(tmpdir(), 'prudent-objective-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const at = (name: string) => path.join(folder, name)

async function writeModel(into: string, kind: 'gpt2' | 'gemma', heads?: number): Promise<void> {
  const tokenizer = path.join(DATA, 'tokenizers', kind === 'gpt2' ? 'policy' : 'scorer')
  const { model: words, added_tokens } = JSON.parse(readFileSync(path.join(tokenizer, 'tokenizer.json'), 'utf8'))
  const last = Math.max(Object.keys(words.vocab).length - 1, ...added_tokens.map(({ id }: { id: number }) => id))
  const special = kind === 'gpt2' ? { bos_token_id: last, eos_token_id: last } : {}
  const task = heads
    ? ({ task: 'sequence-classification', numLabels: heads, allowNewHead: true } as const)
    : ({ task: 'causal-lm' } as const)
  const config = JSON.stringify({ ...TINY[kind], vocab_size: last + 1, ...special })
  const model = await loadAddon().createModel(config, { dtype: 'float32', device: 'cpu', seed: 4, ...task })
  mkdirSync(into, { recursive: true })
  await model.save(into)
  await model.dispose()
  cpSync(tokenizer, into, { recursive: true })
}

beforeAll(async () => {
  await writeModel(at('policy'), 'gpt2')
  await writeModel(at('reward'), 'gemma', 3)
})

test('the example of the docs is the one that is run, and it trains', () => {
  const example = readFileSync('test/examples/own-objective.ts', 'utf8')
  expect(readFileSync('docs/algorithms/variance-kl-ppo.md', 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``)
  const output = execFileSync(process.execPath, ['dist/test/examples/own-objective.js', at('policy'), at('reward')], {
    encoding: 'utf8',
  })
  const sigmas = JSON.parse(output) as number[]
  expect(sigmas).toHaveLength(3)
  for (const sigma of sigmas) expect(sigma).toBeGreaterThan(0)
}, 60_000)

/** Trains one step on a scorer that likes long responses. */
async function trainedBy(objective: Objective, settings: object = {}) {
  await using policy = await Policy.load(at('policy'), { dtype: 'float32' })
  await using reference = await policy.clone()
  // Awaited here: the models are gone with this function.
  return await trainPolicy({
    policy,
    reference,
    scorer: {
      async score(_prompts, responses) {
        return { values: Float32Array.from(responses, ({ length }) => length), heads: 1, texts: [] }
      },
    },
    prompts: { ids: [Int32Array.of(5, 6), Int32Array.of(7)], texts: ['a', 'b'] },
    settings: { batchSize: 2, miniBatchSize: 2, steps: 1, sampling: { maxNewTokens: 4 }, ...settings },
    objective,
  })
}

test('any function reaches the step: scores and KL weights are what it gave', async () => {
  const constant =
    (score: number): Objective =>
    ({ scores, beta }) => ({ scores: scores.map(() => score), klWeights: scores.map(() => beta), sigma: null })
  const { metrics } = await trainedBy(constant(3))
  expect(metrics[0]).toMatchObject({ 'env/reward_mean': 3, 'ppo/mean_scores': 3 })
  expect((await trainedBy(constant(-2))).metrics[0]).toMatchObject({ 'ppo/mean_scores': -2 })
})

test('what a function gives is checked before the trainer sees it', async () => {
  const fine = { scores: Float32Array.of(1, 2), klWeights: Float32Array.of(1, 1), sigma: null }
  const gives = (output: object) => trainedBy(() => output as ObjectiveOutput)
  await expect(gives({ ...fine, scores: Float32Array.of(1) })).rejects.toMatchObject({
    code: 'E_SHAPE',
    argument: 'objective.scores',
  })
  await expect(gives({ ...fine, klWeights: [1, 1] })).rejects.toMatchObject({
    code: 'E_SHAPE',
    argument: 'objective.klWeights',
  })
  await expect(gives({ ...fine, scores: Float32Array.of(1, Number.NaN) })).rejects.toMatchObject({
    code: 'E_NON_FINITE',
    argument: 'objective.scores[1]',
  })
  await expect(gives({ ...fine, klWeights: Float32Array.of(-1, 1) })).rejects.toMatchObject({
    code: 'E_RANGE',
    argument: 'objective.klWeights[0]',
  })
  await expect(trainedBy(() => fine, { batchsize: 3 })).rejects.toMatchObject({ code: 'E_CONFIG' })
})
