import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { ScoreBatcher } from '../../ts/addon/score-batcher.js'
import { packRows } from '../../ts/data/batching.js'
import { Random } from '../../ts/data/random.js'
import { headsSettings } from '../../ts/training/settings.js'
import { layersOf, trainSource } from '../../ts/uncertainty/fit.js'
import { measure, type UncertaintySource } from '../../ts/uncertainty/linear-source.js'
import { uncertaintySettings } from '../../ts/uncertainty/settings.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { TINY } from '../support/train-runs.js'

const LAYERS = 3
const random = Random.from(1, 'rows')
const row = () => Int32Array.from({ length: random.integer(3, 9) }, () => random.integer(3, 50))
const pairs = { chosen: Array.from({ length: 20 }, row), rejected: Array.from({ length: 20 }, row) }
const rows = [...pairs.chosen, ...pairs.rejected]
const ids = rows.map((values) => [...values])
const settings = headsSettings.parse({ batchSize: 8, steps: 20, batchTokens: 64, heads: 6, optimiser: { lr: 0.01 } })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-sources-'))
})
afterAll(() => rm(folder, { recursive: true }))

function createModel(): Promise<NativeModel> {
  const config = JSON.stringify({ ...TINY.gemma, num_hidden_layers: LAYERS, vocab_size: 50 })
  const options = { task: 'sequence-classification', dtype: 'float32', device: 'cpu', allowNewHead: true } as const
  return loadAddon().createModel(config, { ...options, numLabels: 1, seed: 1 })
}

async function expected(model: NativeModel, source: UncertaintySource) {
  const layers = Int32Array.from(source.layers ?? [LAYERS])
  const features = await model.cacheFeatures(packRows(rows), { batchTokens: 64, layers })
  const { mean, sigma } = measure(source, await features.toArray())
  return { mean: [...mean], sigma: [...sigma] }
}

const SOURCES = [
  { source: 'heads' },
  { source: 'bootstrap' },
  { source: 'anchored-bootstrap' },
  { source: 'layers', layers: [1, 3] },
  { source: 'laplace', priorPrecision: 2 },
  { source: 'dropout', rate: 0.2 },
  { source: 'dropout', rate: 0.2, passes: 7 },
] as const

test.each(SOURCES)('one forward gives rewards and sigma, saved and read again: %j', async (given) => {
  const uncertainty = uncertaintySettings.parse(given)
  const native = await createModel()
  const { source } = await trainSource({ model: native, pairs, settings, uncertainty })
  if (source === null) throw new Error('a source was asked for')
  expect(layersOf(uncertainty, LAYERS)).toEqual(source.layers ?? [LAYERS])
  const { mean, sigma } = await expected(native, source)
  await using model = new RewardModel(native, source)
  const scored = await model.score({ ids })
  expect(scored[0]?.scores).toHaveLength(source.heads)
  expect(
    relativeError(
      scored.map((entry) => entry.mean),
      mean,
    ),
  ).toBeLessThan(tolerances.batching)
  expect(
    relativeError(
      scored.map((entry) => entry.std as number),
      sigma,
    ),
  ).toBeLessThan(tolerances.modelOutput)
  const target = join(folder, JSON.stringify(given))
  await model.save(target)
  await using again = await RewardModel.load(target, { dtype: 'float32' })
  expect(again.uncertainty).toEqual(JSON.parse(JSON.stringify(model.uncertainty)))
  expect(again.heads).toBe(source.heads)
  expect(await again.score({ ids })).toEqual(scored)
  const batcher = new ScoreBatcher(again)
  expect(await batcher.score({ ids })).toEqual(scored)
  await batcher.dispose()
  await using copy = await again.clone()
  expect(await copy.score({ ids })).toEqual(scored)
  // Other heads take the source away.
  await copy.setHeadWeights(new Float32Array(24).fill(0.1), 1)
  expect(copy.uncertainty).toBeNull()
  expect((await copy.score({ ids: [[3, 4]] }))[0]?.std).toBeNull()
})

async function savedLaplace(name: string): Promise<string> {
  const native = await createModel()
  const uncertainty = uncertaintySettings.parse({ source: 'laplace' })
  const { source } = await trainSource({ model: native, pairs, settings, uncertainty })
  await using model = new RewardModel(native, source)
  await model.save(join(folder, name))
  return join(folder, name)
}

const load = async (path: string) => (await RewardModel.load(path, { dtype: 'float32' })).dispose()

/** Rewrites the sidecar. */
async function edit(path: string, change: (sidecar: Record<string, unknown>) => object): Promise<void> {
  const file = join(path, 'uncertainty.json')
  await writeFile(file, JSON.stringify(change(JSON.parse(await readFile(file, 'utf8')))))
}

test('a missing or wrong sidecar is refused by name', async () => {
  const path = await savedLaplace('refused')
  const text = await readFile(join(path, 'uncertainty.json'), 'utf8')
  const refuses = async (code: string, message: RegExp) => {
    await expect(load(path)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    await writeFile(join(path, 'uncertainty.json'), text)
  }
  await load(path)
  await rm(join(path, 'uncertainty.json'))
  await refuses('E_NOT_FOUND', /uncertainty\.json.*prudent_uncertainty/)
  await writeFile(join(path, 'uncertainty.json'), '{"format":')
  await refuses('E_CORRUPT_FILE', /no JSON/)
  await edit(path, (sidecar) => ({ ...sidecar, format: 'another' }))
  await refuses('E_CORRUPT_FILE', /format/)
  await edit(path, (sidecar) => ({ ...sidecar, version: 2 }))
  await refuses('E_UNSUPPORTED', /version 1/)
  await edit(path, (sidecar) => ({ ...sidecar, source: 'astrology' }))
  await refuses('E_UNSUPPORTED', /laplace/)
  await edit(path, (sidecar) => ({ ...sidecar, heads: 0 }))
  await refuses('E_CORRUPT_FILE', /heads/)
  await edit(path, (sidecar) => ({ ...sidecar, headNorms: [1e6] }))
  await refuses('E_CORRUPT_FILE', /sidecar of this model/)
  await edit(path, (sidecar) => ({ ...sidecar, spread: 5 }))
  await refuses('E_SHAPE', /readout/)
  await edit(path, (sidecar) => ({ ...sidecar, layers: [9] }))
  await refuses('E_RANGE', /layers/)
  await edit(path, (sidecar) => ({ ...sidecar, weights: null }))
  await refuses('E_CORRUPT_FILE', /weights/)
  await rm(join(path, 'uncertainty.safetensors'))
  await refuses('E_NOT_FOUND', /uncertainty\.safetensors/)
  await copyFile(join(path, 'model.safetensors'), join(path, 'uncertainty.safetensors'))
  await refuses('E_CORRUPT_FILE', /SHA-256/)
})

test('the mark goes with the sidecar: a model saved without one is an ordinary classifier', async () => {
  const path = await savedLaplace('marked')
  expect(JSON.parse(await readFile(join(path, 'config.json'), 'utf8'))).toMatchObject({
    prudent_uncertainty: 'uncertainty.json',
  })
  const options = { task: 'sequence-classification', dtype: 'float32', device: 'cpu' } as const
  const native = await loadAddon().loadModel(path, options)
  expect(native.info()).toMatchObject({ numLabels: 1, spread: 0 })
  await native.save(join(folder, 'plain'))
  await using plain = await RewardModel.load(join(folder, 'plain'), { dtype: 'float32' })
  expect(plain.uncertainty).toBeNull()
  expect((await plain.score({ ids: [[3, 4]] }))[0]?.std).toBeNull()
})

test('bfloat16 keeps the factor in fp32', async () => {
  const path = await savedLaplace('half')
  await using whole = await RewardModel.load(path, { dtype: 'float32' })
  await using half = await RewardModel.load(path, { dtype: 'bfloat16' })
  const sigma = async (model: RewardModel) => (await model.score({ ids })).map(({ std }) => std as number)
  // The features are rounded to 8 bits, nothing else is.
  expect(relativeError(await sigma(half), await sigma(whole))).toBeLessThan(0.05)
})
