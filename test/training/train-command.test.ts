import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { jsonRows, runCommand } from '../support/run-command.js'
import { readSafetensorsHeader } from '../support/safetensors-header.js'
import { DATA, fingerprint, steadyMetrics, type TrainRun, train, writeTinyConfig } from '../support/train-runs.js'

import { askTransformers, python } from './transformers-check.js'

let folder: string
/** Whole runs, in the order in which one needs the other. */
const runs = {} as Record<'scorerBase' | 'policyBase' | 'reward' | 'ensemble' | 'policy', TrainRun>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-train-'))
  const at = (name: string) => join(folder, name)
  await writeTinyConfig(at('gemma.json'), 'gemma')
  await writeTinyConfig(at('gpt2.json'), 'gpt2')
  const saving = { everySteps: 4, keep: 2 }
  const dtype = 'float32'
  const texts = { source: { path: `${DATA}/imdb/train.parquet`, limit: 200 }, maxLength: 48 }
  const languageModel = (kind: string, tokenizer: string) => ({
    model: { config: at(`${kind}.json`), seed: 3 },
    tokenizer: `${DATA}/tokenizers/${tokenizer}`,
    data: texts,
    training: { batchSize: 8, steps: 24, optimiser: { lr: 3e-3 }, schedule: { warmupSteps: 3 }, evaluateEvery: 10 },
    saving,
    dtype,
  })
  const pairs = { source: { path: `${DATA}/preferences/train.parquet`, limit: 240 }, maxLength: 80 }
  const optimiser = { lr: 1e-3, weightDecay: 0.001 }
  runs.scorerBase = { kind: 'language-model', folder: at('scorer-base'), config: languageModel('gemma', 'scorer') }
  runs.policyBase = { kind: 'language-model', folder: at('policy-base'), config: languageModel('gpt2', 'policy') }
  runs.reward = {
    kind: 'reward',
    folder: at('reward'),
    config: {
      model: at('scorer-base/model'),
      data: pairs,
      heldOut: { fraction: 0.2 },
      training: { batchSize: 8, steps: 24, optimiser, schedule: { warmupRatio: 0.1 }, evaluateEvery: 9 },
      saving,
      dtype,
    },
  }
  runs.ensemble = {
    kind: 'ensemble',
    folder: at('ensemble'),
    config: {
      model: at('reward/model'),
      data: pairs,
      heldOut: { fraction: 0.2 },
      training: {
        ...{
          batchSize: 8,
          steps: 200,
          heads: 5,
          order: 'per-head',
          bootstrap: true,
          anchored: true,
          optimiser,
          evaluateEvery: 30,
        },
        init: { kind: 'keep-first', std: 0.3 },
      },
      saving,
      dtype,
    },
  }
  runs.policy = {
    kind: 'policy',
    folder: at('policy'),
    config: {
      model: at('policy-base/model'),
      scorer: { model: at('ensemble/model'), maxLength: 80, head: 2, ensemble: [1, 2, 3, 4] },
      prompts: { source: { path: `${DATA}/imdb/train.parquet`, limit: 120 }, longerThan: 20 },
      ppo: {
        ...{ batchSize: 16, miniBatchSize: 8, ppoEpochs: 2, steps: 14, optimiser: { lr: 1e-3 } },
        kl: { initial: 0.3, adaptive: true, target: 1, horizon: 200 },
        objective: { kind: 'variance-kl', sigma: { center: 'reference' } },
        score: { scale: true, normalise: true, clip: 3 },
        sampling: { maxNewTokens: 8 },
      },
      saving,
      dtype,
    },
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function whole(run: TrainRun): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await train(run)
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as Record<string, unknown>
}

/** Killed or stopped on the way and started again, the run ends with the same files, to the bit, and the same metrics. */
async function interrupted(
  run: TrainRun,
  signal: 'SIGKILL' | 'SIGINT' | 'SIGTERM',
  afterSteps: number,
  meanwhile: (folder: string) => Promise<void> = async () => {},
): Promise<void> {
  const again = { ...run, folder: `${run.folder}-${signal}` }
  const first = await train(again, { signal, afterSteps })
  if (signal === 'SIGKILL') expect(first.signal).toBe('SIGKILL')
  else expect(first.code).toBe(signal === 'SIGINT' ? 130 : 143)
  const checkpoints = (await readdir(join(again.folder, 'checkpoints'))).filter((name) => /^step-\d+$/.test(name))
  expect(checkpoints.length).toBeGreaterThan(0)
  await meanwhile(again.folder)
  const second = await train(again)
  expect({ code: second.code, stderr: second.stderr }).toMatchObject({ code: 0 })
  expect(second.stderr).toMatch(/going on from step \d+/)
  expect(fingerprint(again.folder)).toEqual(fingerprint(run.folder))
  expect(steadyMetrics(again.folder)).toEqual(steadyMetrics(run.folder))
}

describe('prudent train', () => {
  test('language models, from random weights', async () => {
    const scorer = await whole(runs.scorerBase)
    const policy = await whole(runs.policyBase)
    for (const summary of [scorer, policy]) expect(summary).toMatchObject({ steps: 24, stoppedEarly: false })
    const losses = steadyMetrics(runs.policyBase.folder).map((entry) => entry['eval/loss'] as number | undefined)
    const measured = losses.filter((loss) => loss !== undefined)
    expect(losses.flatMap((loss, index) => (loss === undefined ? [] : [index + 1]))).toEqual([10, 20, 24])
    expect(measured[2] as number).toBeLessThan(measured[0] as number)
    expect(policy.heldOutLoss).toBe(measured[2])
  }, 120_000)

  test('a reward model', async () => {
    const summary = await whole(runs.reward)
    expect(summary).toMatchObject({ steps: 24, stoppedEarly: false })
    expect(summary.heldOutAccuracy as number).toBeGreaterThan(0)
    const header = await readSafetensorsHeader(join(runs.reward.folder, 'model', 'model.safetensors'))
    expect(header['score.weight']).toMatchObject({ shape: [1, 24], dtype: 'F32' })
  }, 120_000)

  test('an ensemble, saved as one classifier', async () => {
    const summary = await whole(runs.ensemble)
    expect(summary).toMatchObject({ steps: 200, heads: 5 })
    expect(summary.heldOutAccuracyPerHead).toHaveLength(5)
    const header = await readSafetensorsHeader(join(runs.ensemble.folder, 'model', 'model.safetensors'))
    expect(header['score.weight']).toMatchObject({ shape: [5, 24], dtype: 'F32' })
    const config = JSON.parse(await readFile(join(runs.ensemble.folder, 'model', 'config.json'), 'utf8'))
    expect(Object.keys(config.id2label)).toHaveLength(5)
  }, 120_000)

  test('a policy with sigma-weighted KL', async () => {
    const summary = await whole(runs.policy)
    expect(summary).toMatchObject({ steps: 14 })
    const metrics = steadyMetrics(runs.policy.folder)
    for (const name of [
      'objective/kl',
      'objective/kl_coef',
      'objective/entropy',
      'ppo/loss/policy',
      'ppo/loss/value',
      'ppo/loss/total',
    ]) {
      expect(metrics.map((entry) => typeof entry[name])).toEqual(metrics.map(() => 'number'))
    }
    const named = [
      'env/reward_mean',
      'env/reward_std',
      'objective/sigma_mean',
      'ppo/policy/clipfrac',
      'ppo/val/var_explained',
      'ppo/returns/var',
    ]
    expect(named.filter((name) => !(name in (metrics[0] ?? {})))).toEqual([])
    expect(new Set(metrics.map((entry) => entry['objective/kl_coef'])).size).toBeGreaterThan(10)
    const header = await readSafetensorsHeader(join(runs.policy.folder, 'model', 'model.safetensors'))
    expect(header['v_head.summary.weight']).toMatchObject({ shape: [1, 24] })
    expect(header['v_head.summary.bias']).toMatchObject({ shape: [1] })
    expect(await readdir(join(runs.policy.folder, 'model'))).toContain('tokenizer.json')
  }, 120_000)
})

test('what a reward run and a policy took is a rate for `plan --like`', async () => {
  const like = [runs.reward.folder, runs.policy.folder].flatMap((run) => ['--like', run])
  const { code, stdout, stderr } = await runCommand(['plan', '--config', 'configs/laptop.yaml', '--json', ...like])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const plan = JSON.parse(stdout) as { like: Record<string, number>[]; stages: { hours: number }[] }
  expect(plan.like).toMatchObject([
    { task: 'reward', steps: 24 },
    { task: 'policy', steps: 14 },
  ])
  for (const run of plan.like) for (const name of ['seconds', 'tokens', 'flops']) expect(run[name]).toBeGreaterThan(0)
  for (const { hours } of plan.stages) expect(hours).toBeGreaterThan(0)
})

const testWithTransformers = python === null ? test.skip : test

testWithTransformers(
  'transformers loads what was trained and gives the same numbers',
  async () => {
    const rows = [[2, 17, 300, 45, 9], [2, 5, 77], Array.from({ length: 30 }, (_, at) => 3 + ((at * 31) % 600))]
    const [ensemble, policy] = [join(runs.ensemble.folder, 'model'), join(runs.policy.folder, 'model')]
    const numbers = askTransformers(ensemble, policy, rows)
    const ask = async (name: string, model: string) => {
      const input = rows.map((input_ids) => `${JSON.stringify({ input_ids })}\n`).join('')
      const { stdout } = await runCommand([name, '--model', model, '--input', '-', '--output', '-'], { input })
      return jsonRows<{ scores: number[]; logprobs: number[] }>(stdout)
    }
    const largest = (a: number[][], b: number[][]) =>
      Math.max(...a.flatMap((row, at) => row.map((value, to) => Math.abs(value - (b[at]?.[to] as number)))))
    expect(
      largest(
        (await ask('score', ensemble)).map((row) => row.scores),
        numbers.scores,
      ),
    ).toBeLessThan(1e-4)
    expect(
      largest(
        (await ask('logprobs', policy)).map((row) => row.logprobs),
        numbers.logprobs,
      ),
    ).toBeLessThan(1e-4)
    expect(numbers.scores.map((row) => row.length)).toEqual([5, 5, 5])
    expect(numbers.valueHead).toEqual([1, 24])
    // The comparison can fail: the scores of another row are elsewhere.
    expect(largest(numbers.scores, numbers.scores.toReversed())).toBeGreaterThan(1e-3)
  },
  120_000,
)

describe('goes on to the bit', () => {
  test('language model after SIGKILL', () => interrupted(runs.policyBase, 'SIGKILL', 10), 120_000)
  test('reward model after SIGKILL', () => interrupted(runs.reward, 'SIGKILL', 9), 120_000)
  test('ensemble after SIGKILL', () => interrupted(runs.ensemble, 'SIGKILL', 40), 120_000)
  test('policy after SIGKILL', () => interrupted(runs.policy, 'SIGKILL', 6), 120_000)
  test('policy after SIGINT', () => interrupted(runs.policy, 'SIGINT', 5), 120_000)
  test('policy that began before some settings existed', async () => {
    await interrupted(runs.policy, 'SIGTERM', 5, async (run) => {
      const file = join(run, 'config.yaml')
      const { ppo, scorer, ...rest } = parse(await readFile(file, 'utf8'))
      const { updateInBackward, oldLogprobs, ...olderPpo } = ppo
      const { sharePrefixes, ...olderScorer } = scorer
      expect([updateInBackward, oldLogprobs, sharePrefixes]).toEqual([false, 'forward', true])
      await writeFile(file, toYaml({ ...rest, ppo: olderPpo, scorer: olderScorer }))
      const other = await train({ ...runs.policy, folder: run, more: ['--set', 'ppo.updateInBackward=true'] })
      expect({ code: other.code, stderr: other.stderr }).toEqual({
        code: 1,
        stderr: expect.stringContaining('another configuration (ppo.updateInBackward)'),
      })
    })
  }, 120_000)
  test('reward model after SIGTERM', () => interrupted(runs.reward, 'SIGTERM', 2), 120_000)
})

describe('an existing run', () => {
  test('that is done is left alone', async () => {
    const path = join(runs.reward.folder, 'model', 'model.safetensors')
    const before = (await stat(path)).mtimeMs
    const metrics = await readFile(join(runs.reward.folder, 'metrics.jsonl'), 'utf8')
    const { code, stdout, stderr } = await train(runs.reward)
    expect({ code, stdout: JSON.parse(stdout) }).toMatchObject({ code: 0, stdout: { done: true } })
    expect(stderr).toContain('--overwrite')
    expect((await stat(path)).mtimeMs).toBe(before)
    expect(await readFile(join(runs.reward.folder, 'metrics.jsonl'), 'utf8')).toBe(metrics)
  })

  test('of another configuration is refused by its keys; --overwrite begins anew', async () => {
    const other = { ...runs.reward, more: ['--set', 'training.steps=2', '--set', 'training.optimiser.lr=0.002'] }
    const refused = await train(other)
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/error E_STATE: .*\(training\.steps, training\.optimiser\.lr\)/)
    const anew = await train({ ...other, more: [...other.more, '--overwrite'] })
    expect(JSON.parse(anew.stdout)).toMatchObject({ steps: 2 })
  })

  test('an unknown key and a missing one are usage errors with their place', async () => {
    const config = { ...(runs.policy.config as object), polcy: 1, scorer: {} }
    const { code, stderr } = await train({ kind: 'policy', folder: join(folder, 'wrong'), config })
    expect(code).toBe(2)
    expect(stderr).toMatch(/wrong\.yaml:\d+: .*polcy/)
    expect(stderr).toContain('scorer.model')
    expect(await stat(join(folder, 'wrong')).catch(() => null)).toBeNull()
  })
})
