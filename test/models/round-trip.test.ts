/** What prudent saves loads again, here and in transformers, with the same numbers. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { Dtype, LoadModelOptions, NativeModel } from '../../ts/addon/native.js'
import { toTokenRows } from '../../ts/addon/rows.js'
import { type ModelConfigJson, writeTinyModel } from '../support/tiny-models.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { readModelsGolden, root } from './golden-models.js'
import { python, type ReadJob, transformersReads } from './transformers-reads.js'

const golden = readModelsGolden()
const batch = { batchTokens: 4096 }

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'prudent-round-trip-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Saved extends ReadJob {
  dtype: Dtype
  /** At the last token of each row, as prudent computes them. */
  values: number[]
}

async function lastValues(model: NativeModel, job: ReadJob): Promise<number[]> {
  const rows = toTokenRows([...job.rows], 'rows')
  if (job.task === 'sequence-classification') return [...(await model.score(rows, batch))]
  const logits = await model.logits(rows, batch)
  const width = model.info().vocabSize
  let end = 0
  return job.rows.flatMap((row) => {
    end += row.length * width
    return [...logits.subarray(end - width, end)]
  })
}

async function save(
  name: string,
  config: ModelConfigJson,
  job: Omit<ReadJob, 'folder'>,
  dtype: Dtype,
  shards: boolean,
): Promise<Saved> {
  const options: LoadModelOptions = { task: job.task, dtype, device: 'cpu' }
  await writeTinyModel(join(folder, `${name}-original`), config, { task: job.task, dtype })
  const model = await loadAddon().loadModel(join(folder, `${name}-original`), options)
  const target = join(folder, name)
  if (job.task === 'causal-lm') await model.addValueHead(1)
  await model.save(target, shards ? { maxShardBytes: 20_000 } : {})
  const saved = { ...job, folder: target, dtype, values: await lastValues(model, { ...job, folder: target }) }
  await model.dispose()
  return saved
}

/** Every architecture in both dtypes, whole and in shards, causal with a value head and as classifiers. */
async function saveAll(): Promise<Saved[]> {
  const saved: Saved[] = []
  for (const [name, { config, rows }] of Object.entries(golden.causal)) {
    saved.push(await save(name, config, { task: 'causal-lm', rows }, 'float32', name.startsWith('gpt2')))
  }
  for (const [name, { config, rows }] of Object.entries(golden.classifiers)) {
    const dtype = name.endsWith('-1') ? 'bfloat16' : 'float32'
    saved.push(await save(name, config, { task: 'sequence-classification', rows }, dtype, name.startsWith('llama')))
  }
  return saved
}

describe('saved models', () => {
  test('load again with the same numbers to the bit, whole or in shards', async () => {
    for (const job of await saveAll()) {
      const model = await loadAddon().loadModel(job.folder, { task: job.task, dtype: job.dtype, device: 'cpu' })
      expect(await lastValues(model, job)).toEqual(job.values)
      expect(model.info().hasValueHead).toBe(job.task === 'causal-lm')
      await model.dispose()
      rmSync(job.folder, { recursive: true })
    }
  })

  test('saving over a model leaves one set of weights', async () => {
    const { config, rows } = golden.causal.gpt2 as { config: ModelConfigJson; rows: number[][] }
    const target = join(folder, 'again')
    for (const shards of [true, false, true]) {
      const { folder: written } = await save('again', config, { task: 'causal-lm', rows }, 'float32', shards)
      expect(existsSync(join(written, 'model.safetensors'))).toBe(!shards)
      expect(existsSync(join(written, 'model.safetensors.index.json'))).toBe(shards)
      expect(readdirSync(target).filter((name) => name.endsWith('.tmp'))).toEqual([])
    }
  })

  const withPython = python === null ? test.skip : test
  withPython(
    'load in transformers with the same numbers',
    async () => {
      const saved = await saveAll()
      const answers = transformersReads(saved)
      for (const [index, job] of saved.entries()) {
        const answer = answers[index]
        expect(answer?.missing).toEqual([])
        expect(answer?.unexpected.filter((key) => !key.startsWith('v_head.'))).toEqual([])
        expect(answer?.dtype).toBe(`torch.${job.dtype}`)
        expect(answer?.architectures[0]).toMatch(
          job.task === 'causal-lm' ? /(ForCausalLM|LMHeadModel)$/ : /ForSequenceClassification$/,
        )
        const error = relativeError(job.values, answer?.values.flat() ?? [])
        if (job.dtype === 'float32') expect(error).toBeLessThan(tolerances.modelOutput)
        else expect(error).toBeLessThan(0.1) // both round to 8 bits, at different places
      }
    },
    120_000,
  )

  withPython(
    'the committed golden data are what the generator writes',
    async () => {
      const output = join(folder, 'models.json')
      execFileSync(python as string, [`${root}test/golden/generators/models.py`, '--output', output], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const fresh = readModelsGolden(output)
      for (const [name, data] of Object.entries(golden.causal)) {
        expect(fresh.causal[name]?.config).toEqual(data.config)
        expect(relativeError(fresh.causal[name]?.logits ?? [], data.logits)).toBeLessThan(tolerances.modelOutput)
      }
      for (const [name, data] of Object.entries(golden.classifiers)) {
        expect(relativeError(fresh.classifiers[name]?.scoresRightPadded ?? [], data.scoresRightPadded)).toBeLessThan(
          tolerances.modelOutput,
        )
      }
    },
    120_000,
  )
})
