import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { trainOnRanks } from '../support/ranks.js'
import { SafetensorsFile } from '../support/safetensors-values.js'
import { tolerances } from '../support/tolerances.js'
import { DATA, fingerprint, steadyMetrics, type TrainRun, train, writeTinyConfig } from '../support/train-runs.js'

let folder: string
const runs = {} as Record<'scorerBase' | 'policyBase' | 'reward' | 'ensemble' | 'policy', TrainRun>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-ranks-'))
  const at = (name: string) => join(folder, name)
  await writeTinyConfig(at('gemma.json'), 'gemma')
  await writeTinyConfig(at('gpt2.json'), 'gpt2')
  const common = { saving: { everySteps: 3, keep: 2 }, dtype: 'float32' }
  const optimiser = { lr: 1e-3, weightDecay: 0.001 }
  const languageModel = (kind: string, tokenizer: string) => ({
    model: { config: at(`${kind}.json`), seed: 3 },
    tokenizer: `${DATA}/tokenizers/${tokenizer}`,
    data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 60 }, maxLength: 32 },
    training: { batchSize: 7, steps: 4, optimiser },
    ...common,
  })
  const data = { source: { path: `${DATA}/preferences/train.parquet`, limit: 120 }, maxLength: 60 }
  runs.scorerBase = { kind: 'language-model', folder: at('scorer-base'), config: languageModel('gemma', 'scorer') }
  runs.policyBase = { kind: 'language-model', folder: at('policy-base'), config: languageModel('gpt2', 'policy') }
  runs.reward = {
    kind: 'reward',
    folder: at('reward'),
    config: {
      ...{ model: at('scorer-base/model'), data, heldOut: { fraction: 0.2 } },
      training: { batchSize: 7, steps: 9, optimiser, evaluateEvery: 4 },
      ...common,
    },
  }
  runs.ensemble = {
    kind: 'ensemble',
    folder: at('ensemble'),
    config: {
      ...{ model: at('reward/model'), data, heldOut: { fraction: 0.2 } },
      training: { batchSize: 8, steps: 12, heads: 3, optimiser, batchTokens: 200 },
      ...common,
    },
  }
  runs.policy = {
    kind: 'policy',
    folder: at('policy'),
    config: {
      model: at('policy-base/model'),
      scorer: { model: at('ensemble/model'), maxLength: 60 },
      prompts: { source: { path: `${DATA}/imdb/train.parquet`, limit: 60 }, longerThan: 20 },
      ppo: {
        ...{ batchSize: 10, miniBatchSize: 5, ppoEpochs: 2, steps: 5, optimiser: { lr: 1e-3 } },
        objective: { kind: 'variance-kl' },
        score: { scale: true, normalise: true },
        sampling: { maxNewTokens: 8 },
      },
      ...common,
    },
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function alone(run: TrainRun): Promise<void> {
  const { code, stderr } = await train(run)
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
}

async function onRanks(run: TrainRun, size: number): Promise<TrainRun> {
  const shared = { ...run, folder: `${run.folder}-${size}` }
  const results = await trainOnRanks(shared, size)
  expect(results.map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual(results.map(() => 0))
  // One of them writes and speaks.
  expect(results.slice(1).map(({ stdout }) => stdout)).toEqual(results.slice(1).map(() => ''))
  expect(JSON.parse(results[0]?.stdout as string)).toMatchObject({ output: shared.folder })
  return shared
}

/** Largest difference of any weight, and of any number of metrics.jsonl, each relative to its size. */
function differences(one: TrainRun, other: TrainRun): { weights: number; measures: number } {
  const [a, b] = [one, other].map((run) => new SafetensorsFile(join(run.folder, 'model', 'model.safetensors')))
  let weights = 0
  for (const name of a?.names ?? []) {
    const [left, right] = [a?.values(name) as Float32Array, b?.values(name) as Float32Array]
    const scale = left.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3)
    left.forEach((value, index) => {
      weights = Math.max(weights, Math.abs(value - (right[index] as number)) / scale)
    })
  }
  let measures = 0
  const [mine, theirs] = [steadyMetrics(one.folder), steadyMetrics(other.folder)]
  expect(theirs.map((entry) => Object.keys(entry))).toEqual(mine.map((entry) => Object.keys(entry)))
  for (const [index, entry] of mine.entries()) {
    for (const [name, value] of Object.entries(entry) as [string, number][]) {
      const difference = Math.abs(value - ((theirs[index] as Record<string, number>)[name] as number))
      measures = Math.max(measures, difference / Math.max(0.1, Math.abs(value)))
    }
  }
  return { weights, measures }
}

describe('ranks that train together', () => {
  test('2 ranks of half a batch are 1 rank of a whole one: reward, ensemble, PPO', async () => {
    await alone(runs.scorerBase)
    await alone(runs.policyBase)
    for (const kind of ['reward', 'ensemble', 'policy'] as const) {
      await alone(runs[kind])
      const found = differences(runs[kind], await onRanks(runs[kind], 2))
      expect(found.weights).toBeLessThan(tolerances.rankWeights)
      expect(found.measures).toBeLessThan(tolerances.rankMeasures)
    }
    // Sharded states change no bit.
    const sharded = { ...runs.reward, folder: `${runs.reward.folder}-sharded` }
    const shardedConfig = runs.reward.config as { training: object }
    const settings = { ...shardedConfig.training, shardOptimiser: true, optimiserState: 'file' }
    const whole = await onRanks({ ...sharded, config: { ...shardedConfig, training: settings } }, 2)
    expect(fingerprint(whole.folder)).toEqual(fingerprint(`${runs.reward.folder}-2`))
    // Twin: another seed is another run.
    const config = runs.reward.config as { training: object }
    const other = { ...runs.reward, folder: `${runs.reward.folder}-other` }
    await alone({ ...other, config: { ...config, training: { ...config.training, seed: 5 } } })
    const twin = differences(runs.reward, other)
    expect(twin.weights).toBeGreaterThan(tolerances.rankWeights)
    expect(twin.measures).toBeGreaterThan(tolerances.rankMeasures)
  }, 240_000)

  test.each(['reward', 'policy'] as const)(
    '%s: a rank killed on the way ends all, who name it; started again they end with the same files',
    async (kind) => {
      const whole = { ...runs[kind], folder: `${runs[kind].folder}-2` }
      const broken = { ...runs[kind], folder: `${runs[kind].folder}-killed` }
      const results = await trainOnRanks(broken, 2, async (children) => {
        while (countLines(join(broken.folder, 'metrics.jsonl')) < 4) await sleep(2)
        children[1]?.kill('SIGKILL')
      })
      expect(results[1]?.signal).toBe('SIGKILL')
      expect(results[0]?.code).toBe(1)
      expect(results[0]?.stderr).toMatch(/error E_DISTRIBUTED: .*rank 1 is gone/)
      const again = await trainOnRanks(broken, 2)
      expect(again.map(({ code }) => code)).toEqual([0, 0])
      expect(again[0]?.stderr).toMatch(/going on from step \d+/)
      expect(fingerprint(broken.folder)).toEqual(fingerprint(whole.folder))
      expect(steadyMetrics(broken.folder)).toEqual(steadyMetrics(whole.folder))
    },
    240_000,
  )

  test('a run that 2 ranks began is gone on with by one process', async () => {
    const begun = { ...runs.reward, folder: `${runs.reward.folder}-begun` }
    const results = await trainOnRanks(begun, 2, async (children) => {
      while (countLines(join(begun.folder, 'metrics.jsonl')) < 4) await sleep(2)
      for (const child of children) child.kill('SIGTERM')
    })
    expect(results.map(({ code }) => code)).toEqual([143, 143])
    const checkpoints = await readdir(join(begun.folder, 'checkpoints'))
    expect(checkpoints.filter((name) => /^step-\d+$/.test(name)).length).toBeGreaterThan(0)
    await alone(begun)
    const found = differences(runs.reward, begun)
    expect(found.weights).toBeLessThan(tolerances.rankWeights)
  }, 240_000)

  test('what stops one rank before it begins is what the others report', async () => {
    const folderOfOther = { ...runs.reward, folder: `${runs.reward.folder}-2` }
    // Rank 0 finds a run of another configuration in the folder; the others have nothing to complain of by themselves.
    const changed = { ...folderOfOther, more: ['--set', 'training.batchSize=5'] }
    const results = await trainOnRanks(changed, 2)
    expect(results.map(({ code }) => code)).toEqual([1, 1])
    expect(results[0]?.stderr).toMatch(/error E_STATE/)
    expect(results[1]?.stderr).toMatch(/error E_DISTRIBUTED: .*rank 0: E_STATE: .*batchSize/s)
    expect((await readFile(join(folderOfOther.folder, 'config.yaml'), 'utf8')).length).toBeGreaterThan(0)
  }, 120_000)
})

function countLines(path: string): number {
  try {
    return readFileSync(path, 'utf8').split('\n').length - 1
  } catch {
    return 0
  }
}
