import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { NativeModel } from '../../ts/addon/native.js'
import { withBatchTokens } from '../../ts/cli/train/micro-batch.js'
import type { Start } from '../../ts/cli/train/start.js'
import { fittingTokens, type StepMemorySettings } from '../../ts/training/micro-batch.js'
import { DATA, train, writeTinyConfig } from '../support/train-runs.js'

const GIB = 2 ** 30
const PLAIN: StepMemorySettings = {
  activationCheckpointing: false,
  updateInBackward: false,
  optimiserState: 'memory',
  shardOptimiser: false,
}

/** Gemma-2B's shape. */
function model(dtype: 'float32' | 'bfloat16', freeBytes: number | null): NativeModel {
  const device = freeBytes === null ? 'cpu' : 'cuda:0'
  const info = { parameterCount: 2.506e9, dtype, layers: 18, hiddenSize: 2048, device }
  const itemBytes = dtype === 'bfloat16' ? 2 : 4
  const blockBytes = itemBytes * (2048 + 512 + 2 * 2048 + 2 * 2048 + 2 * 16384)
  return { info: () => info, trainingMemory: () => ({ blockBytes, freeBytes }) } as unknown as NativeModel
}

describe('tokens that fit', () => {
  const tokensAt = (free: number, settings: Partial<StepMemorySettings> = {}, more = {}) =>
    fittingTokens(model('bfloat16', free * GIB), { ...PLAIN, ...settings }, { most: 32768, ...more })

  test('grow with free memory, between the fewest and the most', () => {
    expect(tokensAt(40)).toBe(256) // gradients and states alone are 37 GiB
    expect(tokensAt(80)).toBeGreaterThan(5000)
    expect(tokensAt(90)).toBeGreaterThan(tokensAt(80))
    expect(tokensAt(1000)).toBe(32768)
    expect(tokensAt(1000, {}, { most: 8192 })).toBe(8192)
  })

  test('grow with every setting that saves memory', () => {
    expect(tokensAt(80, { activationCheckpointing: true })).toBeGreaterThan(2 * tokensAt(80))
    expect(tokensAt(60, { activationCheckpointing: true, activationMemory: 8192 })).toBeLessThan(
      tokensAt(60, { activationCheckpointing: true }),
    )
    expect(tokensAt(80, { updateInBackward: true })).toBeGreaterThan(tokensAt(80))
    expect(tokensAt(80, { optimiserState: 'file' })).toBeGreaterThan(tokensAt(80))
    expect(tokensAt(80, { shardOptimiser: true }, { ranks: 4 })).toBeGreaterThan(tokensAt(80))
    expect(tokensAt(80, {}, { ranks: 4 })).toBe(tokensAt(80))
    expect(tokensAt(160, {}, { sharers: 2 })).toBe(tokensAt(80))
  })

  test('on the CPU weights become the own ones of the process, and free memory is what the machine has', () => {
    const onCpu = (freeBytes?: number) =>
      fittingTokens(model('float32', null), PLAIN, { most: 1e9, ...(freeBytes && { freeBytes }) })
    const onDevice = fittingTokens(model('float32', 100 * GIB), PLAIN, { most: 1e9 })
    expect(onCpu(100 * GIB)).toBeLessThan(onDevice)
    expect(onCpu()).toBeGreaterThanOrEqual(256)
  })
})

describe('batchTokens: auto', () => {
  const start = (state: Record<string, unknown> | null) =>
    ({
      checkpoint: state && { step: 2, folder: '', loss: null, state },
      ranks: null,
      run: null,
    }) as unknown as Start<unknown>
  const settled = async (batchTokens: number | 'auto', state: Record<string, unknown> | null) =>
    (await withBatchTokens({ note: () => {} }, start(state), model('bfloat16', 1000 * GIB), { ...PLAIN, batchTokens }))
      .batchTokens

  test('is a number from the memory that is free, or the one that the run began with', async () => {
    expect(await settled('auto', null)).toBe(32768)
    expect(await settled('auto', { batchTokens: 4321 })).toBe(4321)
    expect(await settled(777, { batchTokens: 4321 })).toBe(777)
  })

  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'prudent-micro-batch-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  test('a run says its number and keeps it in its checkpoints', async () => {
    await writeTinyConfig(join(folder, 'gpt2.json'), 'gpt2')
    const config = {
      model: { config: join(folder, 'gpt2.json'), seed: 3 },
      tokenizer: `${DATA}/tokenizers/policy`,
      data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 40 }, maxLength: 48 },
      training: { batchSize: 8, steps: 4, batchTokens: 'auto', optimiser: { lr: 3e-3 } },
      saving: { everySteps: 2, keep: 2 },
      dtype: 'float32',
    }
    const run = { kind: 'language-model', folder: join(folder, 'run'), config } as const
    const { code, stderr } = await train(run)
    expect(code).toBe(0)
    expect(stderr).toContain('batchTokens: 8192, what free memory has room for')
    const manifest = await readFile(join(run.folder, 'checkpoints', 'step-2', 'manifest.json'), 'utf8')
    expect(JSON.parse(manifest).manifest.state).toMatchObject({ batchTokens: 8192 })
  })
})
