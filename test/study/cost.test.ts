import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { experimentConfig } from '../../ts/cli/experiment/config.js'
import { experimentCost } from '../../ts/cli/experiment/cost.js'
import { loadConfig } from '../../ts/config/load.js'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { KNOWN_MODELS } from '../../ts/study/cost/known-models.js'
import { baseParameters, forwardFlops, shapeOf } from '../../ts/study/cost/shapes.js'
import { stageCosts, storageRows } from '../../ts/study/cost/stages.js'
import { runCommand } from '../support/run-command.js'

const GIB = 2 ** 30
const [GEMMA_2B, GPT2, LLAMA_3_8B] = [
  'google/gemma-2b-it',
  'openai-community/gpt2',
  'sfairXC/FsfairX-LLaMA3-RM-v0.1',
].map((id) => KNOWN_MODELS[id]) as [Record<string, unknown>, Record<string, unknown>, Record<string, unknown>]
const paperExperiment = async (side: number) =>
  experimentCost(await loadConfig(experimentConfig, 'configs/paper.yaml'), {
    side,
    signal: AbortSignal.timeout(60_000),
  })
const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>

/** Numbers of a safetensors file's tensors, by name. */
function tensorSizes(file: string): [string, number][] {
  const bytes = readFileSync(file)
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString('utf8'))
  return Object.entries(header as Record<string, { shape?: number[] }>).flatMap(([name, { shape }]) =>
    shape === undefined ? [] : [[name, shape.reduce((a, b) => a * b, 1)] as [string, number]],
  )
}

describe('parameters', () => {
  test.each([
    ['Gemma-2B', GEMMA_2B, 2_506_172_416],
    ['GPT-2', GPT2, 124_439_808],
    ['Llama-3-8B without its language-model head', LLAMA_3_8B, 7_504_924_672],
  ])('%s has as many as its files', (_, config, count) => {
    expect(baseParameters(shapeOf(config, 'model'))).toBe(count)
  })

  test.each(['gemma-ensemble', 'gpt2-reward', 'llama-reward'])('%s: those of its weights but the head', (name) => {
    const folder = `test/cli/files/${name}`
    const sizes = tensorSizes(`${folder}/model.safetensors`)
    const base = sizes.filter(([tensor]) => !/^(score|lm_head)\./.test(tensor)).reduce((sum, [, size]) => sum + size, 0)
    const own = baseParameters(shapeOf(read(`${folder}/config.json`), name))
    expect(own).toBe(base)
    expect(baseParameters({ ...shapeOf(read(`${folder}/config.json`), name), layers: 3 })).not.toBe(base)
  })

  test('a size that is not there and a family that nobody knows are named', () => {
    expect(() => shapeOf({ ...GPT2, n_layer: undefined }, 'models.policy')).toThrow(/models\.policy\.n_layer/)
    expect(() => shapeOf({ model_type: 'bert' }, 'models.judge')).toThrow(/models\.judge\.model_type.*bert/)
  })
})

test('operations of a forward, token by token and matrix by matrix', () => {
  const shape = shapeOf({ ...GEMMA_2B, num_hidden_layers: 2, vocab_size: 100 }, 'model')
  const matrices = [2048 * 2048, 2048 * 256, 2048 * 256, 2048 * 2048, 2048 * 16384, 2048 * 16384, 16384 * 2048]
  let count = 0
  for (let token = 1; token <= 7; token += 1) {
    // Every token sees itself and what stands before it: scores and weighted values, 8 heads of 256.
    count += 2 * (2 * matrices.reduce((a, b) => a + b) + 2 * (2 * 8 * 256 * token))
  }
  expect(forwardFlops(shape, 3, 7)).toBe(3 * count)
  expect(forwardFlops(shape, 3, 7, 4)).toBe(3 * (count + 4 * 2 * 2048 * 100))
})

test('ten whole models take the 90 GB of the paper, ten heads on one base its 9.34 GB', async () => {
  const [whole, heads] = storageRows(await paperExperiment(300))
  expect((whole?.float32 ?? 0) / GIB).toBeCloseTo(93.4, 1)
  expect((heads?.float32 ?? 0) / GIB).toBeCloseTo(9.34, 2)
  expect(heads?.bfloat16).toBe((heads?.float32 ?? 0) / 2)
})

test('a policy is dominated by the scorer, and eighty cost eighty times one', async () => {
  const paper = await paperExperiment(300)
  const [, , one, all] = stageCosts(paper)
  expect(all?.flops).toBe(80 * (one?.flops ?? 0))
  const withoutScorer = { ...paper, scorer: paper.policy }
  expect(stageCosts(withoutScorer)[2]?.flops).toBeLessThan(0.6 * (one?.flops ?? 0))
})

describe('prudent plan', () => {
  test('the paper on 4 x A40: peak as a lower bound, hours at a measured rate, the paper’s numbers beside them', async () => {
    const { code, stdout, stderr } = await runCommand(['plan', '--gpu', 'a40', '--gpus', '4', '--tflops', '50'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const text of ['51 h, 12.68 GB', 'about 90 GB', '93.4 GiB', 'yes', '149.7']) expect(stdout).toContain(text)
    expect(stdout).not.toMatch(/NaN|undefined|null/)
  })

  test('hours are FLOPs by rate and devices, and there are none without a rate', async () => {
    const plan = async (...more: string[]) => JSON.parse((await runCommand(['plan', '--json', ...more])).stdout)
    const [with2, without] = [await plan('--gpu', 'a40', '--gpus', '2', '--tflops', '60'), await plan()]
    for (const { flops, hours, hoursAtPeak } of with2.stages) {
      expect(hours).toBeCloseTo(flops / (2 * 60e12) / 3600, 9)
      expect(hoursAtPeak).toBeLessThan(hours)
    }
    expect(without.stages.map((stage: { hours: unknown }) => stage.hours)).toEqual([null, null, null, null, null])
  })

  describe('--like', () => {
    const GPT2_SMALL = { ...GPT2, n_layer: 2, n_embd: 64, n_head: 4, vocab_size: 500 }
    const GEMMA_SMALL = { ...GEMMA_2B, num_hidden_layers: 1, hidden_size: 32, intermediate_size: 40 }
    let folder: string
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'prudent-like-'))
      const data = { source: 'pairs.parquet' }
      const optimiser = { lr: 1e-5 }
      const timed = (seconds: number, values: object) => ({ 'time/step': seconds, ...values })
      await writeRun('scorer', {}, GEMMA_SMALL, [])
      // Two steps of 2 x 4 texts of 50 and 30 tokens; a line that only evaluates.
      const reward = { task: 'reward', model: 'base', data, training: { batchSize: 4, steps: 2, optimiser } }
      const [long, short] = [timed(3, { 'train/tokens': 400 }), timed(1, { 'train/tokens': 240 })]
      await writeRun('reward', reward, GEMMA_SMALL, [long, short, { 'eval/loss': 1 }])
      await writeRun('unfinished', reward, null, [long])
      await writeRun('untimed', reward, GEMMA_SMALL, [{ 'train/tokens': 400 }])
      const scorer = { model: join(folder, 'scorer', 'model') }
      const policy = {
        task: 'policy',
        model: 'base',
        scorer,
        prompts: data,
        ppo: { batchSize: 16, miniBatchSize: 8, optimiser },
      }
      const lengths = { 'tokens/queries_len_mean': 5, 'tokens/responses_len_mean': 9.5 }
      await writeRun('policy', policy, GPT2_SMALL, [timed(0.5, lengths)])
      await writeRun('ensemble', { task: 'ensemble' }, GEMMA_SMALL, [{ 'train/loss': 1 }])
      await writeRun('study', { name: 'laptop' }, null, [])
      await mkdir(join(folder, 'empty'))
    })
    afterAll(() => rm(folder, { recursive: true, force: true }))

    async function writeRun(name: string, config: object, model: object | null, metrics: object[]): Promise<void> {
      await mkdir(join(folder, name, 'model'), { recursive: true })
      const lines = metrics.map((entry, at) => `${JSON.stringify({ step: at + 1, ...entry })}\n`).join('')
      await writeFile(join(folder, name, 'config.yaml'), toYaml(config))
      await writeFile(join(folder, name, 'metrics.jsonl'), lines)
      if (model !== null) await writeFile(join(folder, name, 'model', 'config.json'), JSON.stringify(model))
      else await rm(join(folder, name, 'model'), { recursive: true })
    }
    const like = (...names: string[]) => names.flatMap((name) => ['--like', join(folder, name)])
    const hoursLike = async (...names: string[]) =>
      JSON.parse((await runCommand(['plan', '--json', '--gpus', '2', ...like(...names)])).stdout)

    const gemma = shapeOf(GEMMA_SMALL, 'scorer')
    const gpt2 = shapeOf(GPT2_SMALL, 'policy')
    const ofReward = 4 * (forwardFlops(gemma, 8, 50) + forwardFlops(gemma, 8, 30))
    // Generation, old log-probs, reference, four epochs of three; a text of the scorer has 12 tokens of its template.
    const ofPolicy = 15 * forwardFlops(gpt2, 16, 14.5, 9.5) + forwardFlops(gemma, 16, 26.5)

    test('every stage goes at the rate of the run that is named', async () => {
      const { stages, like: seen } = await hoursLike('reward')
      expect(seen).toEqual([
        { folder: join(folder, 'reward'), task: 'reward', steps: 2, seconds: 4, tokens: 640, flops: ofReward },
      ])
      for (const { flops, hours } of stages) expect(hours / (flops / (2 * (ofReward / 4)) / 3600)).toBeCloseTo(1, 9)
    })

    test('with a run of each kind, each stage at that of its own', async () => {
      const { stages, like: seen } = await hoursLike('reward', 'policy')
      expect(seen[1]).toMatchObject({ task: 'policy', steps: 1, seconds: 0.5, tokens: 16 * 14.5, flops: ofPolicy })
      const rates = [ofReward / 4, ofReward / 4, ofPolicy / 0.5, ofPolicy / 0.5, ofReward / 4]
      for (const [index, { flops, hours }] of stages.entries())
        expect(hours / (flops / (2 * (rates[index] ?? 0)) / 3600)).toBeCloseTo(1, 9)
    })

    test('the page says which run, how many tokens a second, how many TFLOP/s', async () => {
      const { stdout } = await runCommand(['plan', ...like('reward')])
      expect(stdout).toContain('at the measured rate')
      expect(stdout).toMatch(/TFLOP\/s \(160 tokens\/s\) over 2 steps of .*reward \(train reward\)/)
      expect(stdout).not.toMatch(/NaN|undefined|null/)
    })

    test.each([
      ['nowhere', 'it has no config.yaml'],
      ['empty', 'it has no config.yaml'],
      ['study', 'its config.yaml names no task'],
      ['ensemble', 'a run of another task (ensemble)'],
      ['unfinished', 'no model/, the run is not finished'],
      ['untimed', 'no time/step'],
    ])('%s is refused: %s', async (name, message) => {
      const { code, stdout, stderr } = await runCommand(['plan', ...like(name)])
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^error E_NOT_FOUND: --like: expected the folder of a finished run of/)
      expect(stderr).toContain(message)
    })

    test('beside --tflops it is a usage error', async () => {
      const { code, stderr } = await runCommand(['plan', '--tflops', '1', ...like('reward')])
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--tflops') })
    })
  })

  test('a study’s configuration is planned by its own sizes; a model without an architecture is named', async () => {
    const file = ['--config', 'configs/laptop.yaml']
    const { stdout } = await runCommand(['plan', ...file])
    expect(stdout).toContain('# What “laptop” costs')
    expect(stdout).not.toContain('4 × A40')
    const refused = await runCommand(['plan', ...file, '--set', 'models.judge={model: owner/judge}'])
    expect({ code: refused.code, stderr: refused.stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('models.judge'),
    })
  })
})
