import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { Policy } from '../../ts/addon/policy.js'
import { RewardModel, rowScore } from '../../ts/addon/reward-model.js'
import { fromTokenRows, toTokenRows } from '../../ts/addon/rows.js'
import { systemInfo } from '../../ts/addon/system.js'
import { RewardTrainer } from '../../ts/addon/trainers.js'
import { configJson, createPolicy, createScorer, rejection, rowsOf } from './small-models.js'

/** fp32 sums in another order: what a row's batch may change of its results, relative to the largest. */
const BATCHING = 1e-5

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  const scale = Math.max(...Array.from(b, Math.abs))
  return Math.max(...Array.from(a, (value, index) => Math.abs(value - (b[index] as number)))) / scale
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-models-'))
  const scorer = await createScorer(3)
  const policy = await createPolicy()
  await scorer.save(join(folder, 'scorer'))
  await policy.save(join(folder, 'policy'))
  await Promise.all([scorer.dispose(), policy.dispose()])
})
afterAll(() => rm(folder, { recursive: true }))

describe('RewardModel', () => {
  const ids = [[3, 4, 5, 6, 7], [9], [10, 11], [5, 4, 3, 2, 1, 0, 50, 60, 70], [9]]

  test('scores, mean and std over heads with ddof 1, null for one head', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    const results = await model.score({ ids })
    expect(results).toHaveLength(ids.length)
    for (const { scores, mean, std } of results) {
      expect(scores).toHaveLength(3)
      const expected = Array.from(scores).reduce((sum, score) => sum + score, 0) / 3
      expect(mean).toBeCloseTo(expected, 6)
      expect(std).toBeCloseTo(
        Math.sqrt(Array.from(scores).reduce((sum, score) => sum + (score - expected) ** 2, 0) / 2),
        6,
      )
    }
    expect(results[1]?.scores).toEqual(results[4]?.scores)
    expect(rowScore(Float32Array.of(2))).toEqual({ scores: Float32Array.of(2), mean: 2, std: null })
    expect(await model.score({ ids: [] })).toEqual([])
  })

  test('rows that begin with the kept prefix compute the rest alone and score as they did', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    const prefix = Array.from({ length: 9 }, (_, token) => 20 + token)
    const rows = [[...prefix, 1, 2], ids[0] as number[], [...prefix, 3], prefix, [...prefix, 1, 4, 5]]
    const flat = async () => (await model.score({ ids: rows })).flatMap(({ scores }) => Array.from(scores))
    const whole = await flat()
    await model.setPrefix(prefix)
    expect(largestDifference(await flat(), whole)).toBeLessThan(BATCHING)
    // 2 + 5 + 1 + 9 + 3: a row that is the prefix and no more is computed like any other.
    expect(await model.computedTokens({ ids: rows })).toBe(20)
    expect(await model.computedTokens({ ids: rows }, { sharePrefixes: false })).toBe(47)
    await model.setPrefix([])
    expect(await model.computedTokens({ ids: rows })).toBeGreaterThan(20)
    expect(await rejection(model.setPrefix([1, 5000]))).toMatchObject({ code: 'E_RANGE', argument: 'prefix[1]' })
    expect(await rejection(model.setPrefix(new Array(96).fill(1)))).toMatchObject({ code: 'E_TOO_LONG' })
  })

  test('a row scores alike in every batch', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    const together = (await model.score({ ids })).flatMap(({ scores }) => Array.from(scores))
    const reversed = (await model.score({ ids: [...ids].reverse() }))
      .reverse()
      .flatMap(({ scores }) => Array.from(scores))
    const singly: number[] = []
    for (const row of ids) singly.push(...((await model.score({ ids: [row] }))[0]?.scores ?? []))
    const small = (await model.score({ ids }, { batchTokens: 6 })).flatMap(({ scores }) => Array.from(scores))
    for (const other of [reversed, singly, small]) expect(largestDifference(other, together)).toBeLessThan(BATCHING)
    const moved = together.map((score) => score * 1.0001)
    expect(largestDifference(moved, together)).toBeGreaterThan(BATCHING)
  })

  test('what rows have in common is computed once, and changes no score', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    const prompt = Array.from({ length: 20 }, (_, position) => (position * 7) % 90)
    const pairs = [
      [...prompt, 3, 4],
      [9, 8, 7],
      [...prompt, 5, 6, 7, 8],
      [...prompt.slice(0, 8), 1],
    ]
    const apart = { sharePrefixes: false }
    expect(await model.computedTokens({ ids: pairs }, apart)).toBe(58)
    expect(await model.computedTokens({ ids: pairs })).toBe(58 - 20 - 8)
    expect(await model.computedTokens({ ids: pairs }, { batchTokens: 20 })).toBe(58)
    expect(await model.computedTokens({ ids: [] })).toBe(0)
    const flat = async (options?: { sharePrefixes?: boolean }) =>
      (await model.score({ ids: pairs }, options)).flatMap(({ scores }) => Array.from(scores))
    expect(largestDifference(await flat(), await flat(apart))).toBeLessThan(BATCHING)
    await using shared = await model.features({ ids: pairs })
    await using own = await model.features({ ids: pairs }, apart)
    expect(largestDifference(await shared.toArray(), await own.toArray())).toBeLessThan(BATCHING)
    const wrong = { ids: Int32Array.of(1), lengths: Int32Array.of(1) }
    expect((await rejection(model.native.score(wrong, { batchTokens: 1, sharePrefixes: 1 } as never))).argument).toBe(
      'options.sharePrefixes',
    )
  })

  test('log-probabilities of what rows have in common are computed once, and are the same', async () => {
    await using policy = await Policy.load(join(folder, 'policy'), { dtype: 'float32' })
    const beginning = Array.from({ length: 16 }, (_, position) => (position * 7) % 90)
    const ids = [[...beginning, 3, 4], [9, 8, 7], [...beginning, 5], [...beginning, 3, 6], [1]]
    const flat = async (options?: { sharePrefixes: boolean }) =>
      (await policy.logprobs({ ids }, options)).flatMap((row) => Array.from(row))
    const [shared, apart] = [await flat(), await flat({ sharePrefixes: false })]
    expect(largestDifference(shared, apart)).toBeLessThan(BATCHING)
    expect(largestDifference([...shared].reverse(), apart)).toBeGreaterThan(BATCHING)
  })

  test('heads are read, replaced, saved and loaded', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    const weights = Float32Array.from({ length: 10 * 24 }, (_, index) => Math.sin(index))
    await expect(model.setHeadWeights(Float32Array.of(...weights.slice(1), Number.NaN), 10)).rejects.toMatchObject({
      code: 'E_NON_FINITE',
      argument: 'weights',
    })
    await model.setHeadWeights(weights, 10)
    expect(model.heads).toBe(10)
    expect(await model.headWeights()).toEqual(weights)
    const expected = await model.score({ ids })
    await model.save(join(folder, 'ten'))
    await using loaded = await RewardModel.load(join(folder, 'ten'), { dtype: 'float32' })
    expect(await loaded.score({ ids })).toEqual(expected)
    await using features = await model.features({ ids })
    const scores = await features.score(weights, 10)
    expect(
      largestDifference(
        scores,
        expected.flatMap((row) => Array.from(row.scores)),
      ),
    ).toBeLessThan(BATCHING)
    await features.save(join(folder, 'features.safetensors'))
    const { FeatureCache } = await import('../../ts/addon/feature-cache.js')
    await using read = await FeatureCache.load(join(folder, 'features.safetensors'))
    expect(await read.toArray()).toEqual(await features.toArray())
  })

  test('a policy folder needs newHeads', async () => {
    expect((await rejection(RewardModel.load(join(folder, 'policy')))).code).toBe('E_MISSING_TENSOR')
    await using model = await RewardModel.load(join(folder, 'policy'), { newHeads: 4, seed: 1 })
    await using again = await RewardModel.load(join(folder, 'policy'), { newHeads: 4, seed: 1 })
    await using other = await RewardModel.load(join(folder, 'policy'), { newHeads: 4, seed: 2 })
    expect(await model.headWeights()).toEqual(await again.headWeights())
    expect(await model.headWeights()).not.toEqual(await other.headWeights())
  })

  test('int8 scores near the others, row by row, and is for scoring alone', async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32' })
    await using int8 = await RewardModel.load(join(folder, 'scorer'), { dtype: 'float32', int8: true })
    expect([model.info.int8, int8.info.int8]).toEqual([false, true])
    const flat = (rows: Awaited<ReturnType<RewardModel['score']>>) => rows.flatMap(({ scores }) => Array.from(scores))
    const [exact, near] = [flat(await model.score({ ids })), flat(await int8.score({ ids }))]
    expect(near).not.toEqual(exact)
    expect(largestDifference(near, exact)).toBeLessThan(0.15)
    expect(flat(await int8.score({ ids: ids.slice(0, 1) }))).toEqual(near.slice(0, int8.heads))
    await int8.save(join(folder, 'as-it-was'))
    await using saved = await RewardModel.load(join(folder, 'as-it-was'), { dtype: 'float32' })
    expect(flat(await saved.score({ ids }))).toEqual(exact)
    expect((await rejection(RewardTrainer.create(int8))).code).toBe('E_STATE')
    expect(flat(await int8.score({ ids }))).toEqual(near)
  })

  test("dtype 'auto' follows the CPU", async () => {
    await using model = await RewardModel.load(join(folder, 'scorer'))
    expect(model.info.dtype).toBe(systemInfo().cpu.bf16 ? 'bfloat16' : 'float32')
  })
})

describe('Policy', () => {
  const ids = [[3, 4, 5], [6], [7, 8]]

  test('generation depends on seed and row key, not on the batch', async () => {
    await using policy = await Policy.load(join(folder, 'policy'), { dtype: 'float32' })
    const sampling = { maxNewTokens: 8, seed: 11 }
    const together = await policy.generate({ ids, ...sampling })
    expect(together.map((row) => row.length).every((length) => length >= 1 && length <= 8)).toBe(true)
    for (const [row, prompt] of ids.entries()) {
      expect(await policy.generate({ ids: [prompt], ...sampling, rowKeys: [row] })).toEqual([together[row]])
    }
    expect(await policy.generate({ ids, ...sampling }, { batchTokens: 12 })).toEqual(together)
    expect(await policy.generate({ ids, ...sampling, seed: 12 })).not.toEqual(together)
  })

  test('log-probabilities are those of the logits', async () => {
    await using policy = await Policy.load(join(folder, 'policy'), { dtype: 'float32' })
    const rows = toTokenRows(ids, 'ids')
    const { vocabSize } = policy.info
    const logits = await policy.native.logits(rows, { batchTokens: 64 })
    const actual = await policy.logprobs({ ids })
    expect(actual.map((row) => row.length)).toEqual([2, 0, 1])
    const logprob = (position: number, id: number) => {
      const row = logits.subarray(position * vocabSize, (position + 1) * vocabSize)
      return (row[id] as number) - Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0))
    }
    const expected = [logprob(0, 4), logprob(1, 5), logprob(4, 8)]
    expect(
      largestDifference(
        actual.flatMap((row) => Array.from(row)),
        expected,
      ),
    ).toBeLessThan(BATCHING)
  })

  test('exact KL to itself is 0, to another positive', async () => {
    await using policy = await Policy.load(join(folder, 'policy'), { dtype: 'float32' })
    const created = await loadAddon().createModel(configJson(), {
      task: 'causal-lm',
      dtype: 'float32',
      device: 'cpu',
      seed: 99,
    })
    await created.save(join(folder, 'other'))
    await created.dispose()
    await using other = await Policy.load(join(folder, 'other'), { dtype: 'float32' })
    const input = {
      ids: [
        [3, 4, 5],
        [6, 7],
      ],
      promptLengths: [1, 1],
    }
    expect(Math.max(...(await policy.exactKl(policy, input)))).toBeLessThan(1e-5)
    expect(Math.min(...(await policy.exactKl(other, input)))).toBeGreaterThan(1e-3)
  })
})

describe('bad input', () => {
  let model: NativeModel
  beforeAll(async () => {
    model = await createScorer(2)
  })
  afterAll(() => model.dispose())
  const batch = { batchTokens: 64 }
  const score = (rows: unknown, options: unknown = batch) => rejection(model.score(rows as never, options as never))

  test('rows', async () => {
    const ids = Int32Array.of(1, 2, 3)
    const lengths = Int32Array.of(3)
    expect(await score({ ids: [1, 2, 3], lengths })).toMatchObject({ code: 'E_DTYPE', argument: 'rows.ids' })
    expect(await score({ ids, lengths: [3] })).toMatchObject({ code: 'E_DTYPE', argument: 'rows.lengths' })
    expect(await score({ ids: Float32Array.from(ids), lengths })).toMatchObject({
      code: 'E_DTYPE',
      argument: 'rows.ids',
    })
    expect(await score({ ids, lengths: Int32Array.of(2) })).toMatchObject({ code: 'E_SHAPE', argument: 'rows.ids' })
    expect(await score({ ids, lengths: Int32Array.of(4) })).toMatchObject({ code: 'E_SHAPE', argument: 'rows.ids' })
    expect(await score({ ids, lengths: Int32Array.of(3, 0) })).toMatchObject({
      code: 'E_SHAPE',
      argument: 'rows.lengths[1]',
    })
    expect(await score({ ids, lengths: Int32Array.of(4, -1) })).toMatchObject({
      code: 'E_SHAPE',
      argument: 'rows.lengths[1]',
    })
    expect(await score({ ids: new Int32Array(0), lengths: new Int32Array(0) })).toMatchObject({
      code: 'E_SHAPE',
      argument: 'rows',
    })
    expect(await score({ ids: Int32Array.of(1, 101, 3), lengths })).toMatchObject({
      code: 'E_RANGE',
      argument: 'rows.ids[1]',
    })
    expect(await score({ ids: Int32Array.of(1, -1, 3), lengths })).toMatchObject({
      code: 'E_RANGE',
      argument: 'rows.ids[1]',
    })
    expect(await score(rowsOf([3, 97]))).toMatchObject({ code: 'E_TOO_LONG', argument: 'rows.lengths[1]' })
    for (const rows of [null, undefined, 3, ids])
      expect(await score(rows)).toMatchObject({ code: 'E_TYPE', argument: 'rows' })
    expect(await score({ ids, lengths, mask: ids })).toMatchObject({ code: 'E_TYPE', argument: 'rows.mask' })
  })

  test('options', async () => {
    const rows = rowsOf([3])
    for (const batchTokens of [0, -1, 1.5, Number.NaN])
      expect(await score(rows, { batchTokens })).toMatchObject({ code: 'E_RANGE', argument: 'options.batchTokens' })
    expect(await score(rows, {})).toMatchObject({ code: 'E_TYPE', argument: 'options.batchTokens' })
    expect(await score(rows, { ...batch, padding: true })).toMatchObject({
      code: 'E_TYPE',
      argument: 'options.padding',
    })
  })

  test('the wrong kind of model', async () => {
    const rows = rowsOf([3])
    expect((await rejection(model.logprobs(rows, batch))).code).toBe('E_NO_HEAD')
    expect((await rejection(model.logits(rows, batch))).code).toBe('E_NO_HEAD')
    await using policy = {
      model: await createPolicy(),
      async [Symbol.asyncDispose]() {
        await this.model.dispose()
      },
    }
    expect((await rejection(policy.model.score(rows, batch))).code).toBe('E_NO_HEAD')
    expect((await rejection(policy.model.scoreWeight())).code).toBe('E_NO_HEAD')
  })

  test('generation settings', async () => {
    await using policy = await Policy.load(join(folder, 'policy'))
    const generate = (change: object) => rejection(policy.generate({ ids: [[3]], maxNewTokens: 4, ...change } as never))
    for (const [name, value] of [
      ['maxNewTokens', 0],
      ['minNewTokens', 5],
      ['temperature', 0],
      ['temperature', Number.NaN],
      ['topP', 0],
      ['topP', 1.5],
      ['topK', -1],
      ['seed', -1],
      ['seed', 0.5],
    ] as const) {
      expect(await generate({ [name]: value })).toMatchObject({ code: 'E_RANGE', argument: `options.${name}` })
    }
    expect(await generate({ rowKeys: [1, 2] })).toMatchObject({ code: 'E_SHAPE', argument: 'options.rowKeys' })
    expect(await generate({ rowKeys: [0.5] })).toMatchObject({ code: 'E_RANGE', argument: 'options.rowKeys[0]' })
    expect(await generate({ eosTokenIds: [-1] })).toMatchObject({ code: 'E_RANGE', argument: 'options.eosTokenIds[0]' })
    expect(await generate({ beams: 4 })).toMatchObject({ code: 'E_TYPE', argument: 'options.beams' })
    expect(await generate({ maxNewTokens: 96 })).toMatchObject({ code: 'E_TOO_LONG' })
  })

  test('loading', async () => {
    const load = (path: string, options: object = {}) =>
      rejection(
        loadAddon().loadModel(path, { task: 'causal-lm', dtype: 'float32', device: 'cpu', ...options } as never),
      )
    expect((await load(join(folder, 'nothing'))).code).toBe('E_NOT_FOUND')
    expect(await load(folder, { task: 'seq2seq' })).toMatchObject({ code: 'E_RANGE', argument: 'options.task' })
    expect((await load(folder, { dtype: 'int8' })).code).toBe('E_DTYPE')
    expect((await load(folder, { device: 'tpu' })).code).toBe('E_DEVICE')
    expect((await load(folder, { device: 'cuda:99' })).code).toBe('E_DEVICE')
    expect(await load(folder, { quantise: true })).toMatchObject({ code: 'E_TYPE', argument: 'options.quantise' })
    expect((await load(3 as never)).code).toBe('E_TYPE')
    const broken = join(folder, 'policy', 'model.safetensors')
    await writeFile(join(folder, 'policy', 'config.json'), '{"model_type": "llama"')
    expect((await load(join(folder, 'policy'))).code).toBe('E_CORRUPT_FILE')
    await writeFile(join(folder, 'policy', 'config.json'), configJson())
    await writeFile(broken, 'not safetensors')
    expect((await load(join(folder, 'policy'))).code).toBe('E_CORRUPT_FILE')
  })

  test('rows as nested arrays', () => {
    const bad = (rows: unknown) => {
      try {
        toTokenRows(rows as number[][], 'ids')
      } catch (error) {
        return error
      }
      return undefined
    }
    expect(bad('abc')).toMatchObject({ code: 'E_TYPE', argument: 'ids' })
    expect(bad([[1], 'abc'])).toMatchObject({ code: 'E_TYPE', argument: 'ids[1]' })
    expect(bad([[1], []])).toMatchObject({ code: 'E_SHAPE', argument: 'ids[1]' })
    for (const id of [Number.NaN, -1, 1.5, '2', null, 2 ** 31])
      expect(bad([[1, id]])).toMatchObject({ code: 'E_RANGE', argument: 'ids[0][1]' })
    const rows = [[1, 2], [3]]
    expect(fromTokenRows(toTokenRows(rows, 'ids')).map((row) => Array.from(row))).toEqual(rows)
    expect(toTokenRows([Int32Array.of(4)], 'ids')).toEqual({ ids: Int32Array.of(4), lengths: Int32Array.of(1) })
  })
})
