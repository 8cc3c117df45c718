import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { loadConfig } from '../../ts/config/load.js'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { Random } from '../../ts/data/random.js'
import { COMPONENTS, type ComponentName } from '../../ts/evaluation/uncertainty/crossed-anova.js'
import type { SourcesReport } from '../../ts/report/sources-report.js'
import { writeReport } from '../../ts/report/write-report.js'
import { headsSettings } from '../../ts/training/settings.js'
import { measureSource } from '../../ts/uncertainty/comparison/compare.js'
import { comparisonConfig } from '../../ts/uncertainty/comparison/config.js'
import {
  deviations,
  effectiveDirections,
  type PairColumns,
  sigmas,
} from '../../ts/uncertainty/comparison/pair-columns.js'
import { randomFeatures } from '../../ts/uncertainty/comparison/random-features.js'
import { gridStreams, splitSigma } from '../../ts/uncertainty/comparison/split.js'
import { runCommand } from '../support/run-command.js'

const folder = mkdtempSync(path.join(tmpdir(), 'prudent-compare-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const OPTIONS = { bootstrap: 50, level: 0.95, seed: 1 }
const signal = new AbortController().signal
const NAMES = Object.keys(COMPONENTS) as ComponentName[]

/** One reward and one column of spread a side; the rejected side has neither. */
function columnsOf(margin: readonly number[], sigma: readonly number[]): PairColumns {
  const chosen = Float32Array.from(margin.flatMap((value, pair) => [value, sigma[pair] as number]))
  return { pairs: margin.length, heads: 1, spread: 1, chosen, rejected: new Float32Array(chosen.length) }
}

test('sigma that knows its errors is told from sigma that does not', async () => {
  const random = Random.from(4, 'known')
  const sigma = Array.from({ length: 2000 }, () => random.uniform(0.1, 4))
  const margin = sigma.map((value) => 1.5 + value * random.normal())
  const { statistics: honest } = await measureSource(columnsOf(margin, sigma), OPTIONS)
  const { statistics: shuffled } = await measureSource(
    columnsOf(margin, [...random.shuffle(Float64Array.from(sigma))]),
    OPTIONS,
  )
  expect(honest.aurocSigma.low).toBeGreaterThan(0.6)
  expect(shuffled.aurocSigma.low).toBeLessThan(0.5)
  expect(shuffled.aurocSigma.high).toBeGreaterThan(0.5)
  expect(honest.aurcSigma.estimate).toBeLessThan(shuffled.aurcSigma.estimate)
  expect(honest.errorRate).toEqual(shuffled.errorRate)
})

test('deviations: n independent heads have n - 1 directions, heads along one line have one', () => {
  const random = Random.from(5, 'directions')
  const [rows, heads] = [300, 6]
  const shape = { heads, spread: 0 }
  const apart = Float32Array.from({ length: rows * heads }, () => random.normal())
  const line = Float32Array.from(
    { length: rows * heads },
    (_, index) => Math.sin(Math.floor(index / heads)) * (index % heads),
  )
  expect(effectiveDirections(deviations(apart, shape), heads)).toBeGreaterThan(4.5)
  expect(effectiveDirections(deviations(apart, shape), heads)).toBeLessThan(5 + 1e-9)
  expect(effectiveDirections(deviations(line, shape), heads)).toBeCloseTo(1, 6)
  expect(sigmas(Float32Array.of(1, 3), { heads: 2, spread: 0 })[0]).toBeCloseTo(Math.SQRT2, 6)
  expect(sigmas(Float32Array.of(9, 3, 4), { heads: 1, spread: 2 })[0]).toBeCloseTo(5, 6)
})

const random = {
  hidden: 24,
  pairs: 400,
  heldOut: 150,
  squaredNorm: 24,
  commonShare: 0.3,
  decay: 0.5,
  margin: 2,
  seed: 3,
}

test('random features have the norm, the common part and the labels that were asked for', async () => {
  const { features, heldOut } = await randomFeatures(random)
  const { hidden, rows } = features.cache.info()
  const values = await features.cache.toArray()
  const squares = values.reduce((sum, value) => sum + value ** 2, 0) / rows
  expect(Math.abs(squares / random.squaredNorm - 1)).toBeLessThan(0.1)
  const means = Array.from({ length: hidden }, (_, k) => {
    let sum = 0
    for (let row = 0; row < rows; row++) sum += values[row * hidden + k] as number
    return sum / rows
  })
  const common = means.reduce((sum, value) => sum + value ** 2, 0)
  expect(Math.abs(common / (random.squaredNorm * random.commonShare) - 1)).toBeLessThan(0.15)
  expect(heldOut?.chosen.length).toBe(150)
  const swapped = features.chosen.filter((row) => row % 2 === 1).length
  expect(swapped).toBeGreaterThan(100)
  expect(swapped).toBeLessThan(300)
  expect((await randomFeatures(random)).features.chosen).toEqual(features.chosen)
})

const heads = (more: object) => headsSettings.parse({ batchSize: 32, steps: 60, optimiser: { lr: 0.01 }, ...more })

test('the grid crosses starts, samples and orders, each once', () => {
  const streams = gridStreams([2, 3, 4])
  expect(new Set(streams.map((entry) => JSON.stringify(entry))).size).toBe(24)
  expect(streams[5]).toEqual({ init: 0, sample: 1, order: 1 })
})

test('split: before any learning all is the start; trained on, with starts alike, it is the data', async () => {
  const features = await randomFeatures(random)
  const grid = { initialisations: 3, samples: 3, orders: 2 }
  const still = await splitSigma(grid, heads({ steps: 1, optimiser: { lr: 1e-9 } }), features, { signal })
  expect(still.heads).toBe(18)
  expect(still.views.raw.components.i.share).toBeGreaterThan(0.999)
  expect(still.start.raw.ratio).toBeCloseTo(1, 3)
  expect(still.start.difference.correlation).toBeGreaterThan(0.999)
  const learned = await splitSigma(grid, heads({ steps: 400, init: { std: 1e-4 } }), features, { signal })
  expect(learned.views.difference.components.d.share).toBeGreaterThan(0.8)
  expect(learned.views.difference.components.i.share).toBeLessThan(0.05)
  expect(learned.accuracy).toBeGreaterThan(0.6)
  for (const { components, variance } of Object.values(learned.views))
    expect(NAMES.reduce((sum, name) => sum + components[name].mean, 0)).toBeCloseTo(variance, 6)
})

test('prudent evaluate sources: summary, tables and page; joined into a report', async () => {
  const config = path.join(folder, 'sources.yaml')
  const sources = [
    { uncertainty: { source: 'heads' } },
    { name: 'trained on', uncertainty: { source: 'bootstrap' }, steps: 120, lr: 0.05 },
    { uncertainty: { source: 'laplace' } },
    { uncertainty: { source: 'dropout', passes: 8 } },
  ]
  const training = { batchSize: 32, steps: 20, heads: 4, optimiser: { lr: 1e-3 } }
  const split = { initialisations: 2, samples: 2, orders: 2 }
  writeFileSync(config, toYaml({ model: { random }, training, sources, split, bootstrap: 40 }))
  const output = path.join(folder, 'out')
  const run = (...more: string[]) =>
    runCommand(['evaluate', 'sources', '--config', config, '--output', output, ...more])
  const { code, stdout, stderr } = await run()
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  const summary = JSON.parse(readFileSync(path.join(output, 'summary.json'), 'utf8')) as SourcesReport & {
    kind: string
  }
  expect(summary.kind).toBe('sources')
  expect(summary.sources.map(({ name }) => name)).toEqual(['heads', 'trained on', 'laplace', 'dropout'])
  for (const { name, statistics, cost, effectiveDirections } of summary.sources) {
    // Twenty small steps teach little; the two that are trained on know more than a coin does.
    const learned = name === 'trained on' || name === 'laplace'
    expect(statistics.errorRate.estimate).toBeLessThan(learned ? 0.45 : 0.7)
    expect(statistics.aurocProbability.estimate).toBeGreaterThan(learned ? 0.5 : 0)
    expect(cost.weights).toBeGreaterThan(0)
    expect(effectiveDirections).toBeGreaterThan(0.99)
  }
  expect(summary.split?.shape).toEqual([2, 2, 2])
  for (const heading of ['Does sigma predict errors?', 'Independent members and cost', 'Where sigma comes from']) {
    expect(stdout).toContain(heading)
    expect(readFileSync(path.join(output, 'report.html'), 'utf8')).toContain(heading)
  }
  const page = await writeReport(output, { beside: [output], output: folder })
  expect(readFileSync(page, 'utf8')).toContain('Sources of sigma')

  const twice = await run('--set', 'sources.1.name=heads')
  expect(twice.stderr).toContain('heads stands there twice')
  const noData = await run('--set', 'model=somewhere')
  expect(noData.stderr).toContain('data: expected preference pairs')
  const layers = await run('--set', 'sources.0.uncertainty={source: layers, layers: [1, 2]}')
  expect(layers.stderr).toContain('random features have one layer')
}, 60_000)

test('configs/sources-gemma-shaped.yaml is read, for random features and for a model', async () => {
  const file = 'configs/sources-gemma-shaped.yaml'
  const set = ['model=some/model', 'data={source: pairs.parquet, maxLength: 64}']
  expect((await loadConfig(comparisonConfig, file, { set })).model).toEqual({ path: 'some/model' })
  const config = await loadConfig(comparisonConfig, file)
  expect(config.sources.length).toBeGreaterThan(4)
})
