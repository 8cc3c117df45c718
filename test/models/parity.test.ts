/**
 * Folders in every form that prudent reads, against what transformers computes for the same weights. The C++ tests hold the
 * same models to the same numbers without files (native/tests/models/parity_test.cpp); here everything goes through
 * config.json, safetensors and the addon.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { Dtype, GenerateOptions, NativeModel } from '../../ts/addon/native.js'
import { fromTokenRows, toTokenRows } from '../../ts/addon/rows.js'
import { type ModelConfigJson, type TinyModelOptions, writeTinyModel } from '../support/tiny-models.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { type CausalGolden, type ClassifierGolden, readModelsGolden } from './golden-models.js'

const golden = readModelsGolden()
const causal = Object.entries(golden.causal)
const classifiers = Object.entries(golden.classifiers)
const batch = { batchTokens: 4096 }
/** PyTorch's own bfloat16 error, times this, is allowed. */
const bf16Factor = 2
/** Where PyTorch's rounding happens to be exact, half a unit in the last place of bfloat16 is allowed. */
const bf16Floor = 1 / 256

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'prudent models '))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let written = 0
async function load(
  config: ModelConfigJson,
  options: TinyModelOptions,
  dtype: Dtype = 'float32',
): Promise<NativeModel> {
  const path = join(folder, String(written++))
  await writeTinyModel(path, config, options)
  return loadAddon().loadModel(path, { task: options.task, dtype, device: 'cpu' })
}

async function withModel<T>(model: Promise<NativeModel>, use: (model: NativeModel) => Promise<T>): Promise<T> {
  const loaded = await model
  try {
    return await use(loaded)
  } finally {
    await loaded.dispose()
  }
}

/** The values of each row's last token. */
function lastTokens(values: Float32Array, rows: readonly number[][]): number[] {
  const width = values.length / rows.reduce((sum, row) => sum + row.length, 0)
  let end = 0
  return rows.flatMap((row) => {
    end += row.length * width
    return [...values.subarray(end - width, end)]
  })
}

async function outputs(model: NativeModel, data: CausalGolden) {
  const rows = toTokenRows(data.rows, 'rows')
  return {
    hidden: lastTokens(await model.hiddenStates(rows, batch), data.rows),
    logits: lastTokens(await model.logits(rows, batch), data.rows),
    logprobs: [...(await model.logprobs(rows, batch))],
  }
}

function rmsError(actual: readonly number[], expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length)
  return Math.sqrt(actual.reduce((sum, value, i) => sum + (value - (expected[i] as number)) ** 2, 0) / actual.length)
}

describe.each(causal)('%s', (_, data) => {
  test('hidden states, logits and log-probabilities are those of transformers', async () => {
    const actual = await withModel(load(data.config, { task: 'causal-lm' }), (model) => outputs(model, data))
    expect(relativeError(actual.hidden, data.hidden)).toBeLessThan(tolerances.modelOutput)
    expect(relativeError(actual.logits, data.logits)).toBeLessThan(tolerances.modelOutput)
    expect(relativeError(actual.logprobs, data.logprobs)).toBeLessThan(tolerances.modelOutput)
  })

  test('one setting read wrongly is noticed', async () => {
    const wrong = { ...data.config, ...data.wrong }
    const actual = await withModel(load(wrong, { task: 'causal-lm' }), (model) => outputs(model, data))
    expect(relativeError(actual.logits, data.logits)).toBeGreaterThan(tolerances.modelOutput)
  })

  test('bfloat16 is within twice the error of PyTorch', async () => {
    const options = { task: 'causal-lm', dtype: 'bfloat16' } as const
    const actual = await withModel(load(data.config, options, 'bfloat16'), (model) => outputs(model, data))
    for (const key of ['hidden', 'logits', 'logprobs'] as const) {
      expect(rmsError(actual[key], data[key])).toBeLessThanOrEqual(bf16Factor * data.bf16Error[key])
    }
  })

  test('greedy continuations are the same tokens', async () => {
    const responses = await withModel(load(data.config, { task: 'causal-lm' }), async (model) => {
      const options: GenerateOptions = {
        ...batch,
        maxNewTokens: golden.newTokens,
        eosTokenIds: model.info().eosTokenIds,
        greedy: true,
        temperature: 1,
        topK: 0,
        topP: 1,
        seed: 0,
      }
      return fromTokenRows(await model.generate(toTokenRows(data.prompts, 'prompts'), options))
    })
    expect(responses.map((row) => [...row])).toEqual(data.greedy)
  })
})

describe.each(classifiers)('%s labels', (_, data: ClassifierGolden) => {
  const heads = Object.keys(data.config.id2label as object).length
  const score = (options: Partial<TinyModelOptions> = {}, rows = data.rows) =>
    withModel(load(data.config, { task: 'sequence-classification', ...options }, options.dtype), async (model) => [
      ...(await model.score(toTokenRows(rows, 'rows'), batch)),
    ])

  test('scores are those of transformers with padding on either side', async () => {
    const scores = await score()
    expect(scores.length).toBe(data.rows.length * heads)
    expect(relativeError(scores, data.scoresRightPadded)).toBeLessThan(tolerances.modelOutput)
    expect(relativeError(scores, data.scoresLeftPadded)).toBeLessThan(tolerances.modelOutput)
  })

  test('a score read one token early is noticed', async () => {
    const early = data.rows.map((row) => (row.length > 1 ? row.slice(0, -1) : row))
    expect(relativeError(await score({}, early), data.scoresRightPadded)).toBeGreaterThan(tolerances.modelOutput)
  })

  test('bfloat16 is within twice the error of PyTorch', async () => {
    const largest = Math.max(...data.scoresRightPadded.map(Math.abs))
    const allowed = Math.max(bf16Factor * data.bf16Error.scores, bf16Floor * largest)
    expect(rmsError(await score({ dtype: 'bfloat16' }), data.scoresRightPadded)).toBeLessThanOrEqual(allowed)
  })
})

describe('forms of a folder', () => {
  const cases = ['gemma-gqa', 'llama-gqa', 'gpt2'] as const
  test.each(cases)('%s with bare tensor names, in shards, and in bfloat16 read as float32', async (name) => {
    const data = golden.causal[name] as CausalGolden
    for (const options of [{ names: 'bare' }, { maxShardBytes: 10_000 }, { dtype: 'bfloat16' }] as const) {
      const actual = await withModel(load(data.config, { task: 'causal-lm', ...options }), (model) =>
        outputs(model, data),
      )
      expect(relativeError(actual.logits, data.logits)).toBeLessThan(tolerances.modelOutput)
    }
  })
})
