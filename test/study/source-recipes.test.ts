import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { loadConfig } from '../../ts/config/load.js'
import { type StudyConfig, studyConfigSchema } from '../../ts/study/config.js'
import { calibrationHeads, ensembleHeads } from '../../ts/study/ensembles.js'
import { planStudy } from '../../ts/study/plan.js'
import { type Summary, summarySchema } from '../../ts/study/summary.js'
import { runCommand } from '../support/run-command.js'

const SOURCES = [
  'heads.laplace={}',
  'heads.dropout={rate: 0.2, steps: 4, batchSize: 64, optimiser: {lr: 1.0e-2}}',
  'heads.layers={layers: [1, 2], steps: 4, batchSize: 64, init: {std: 0.5}, optimiser: {lr: 1.0e-2}}',
  'layout={ensembles: 2, heads: 2, trials: 1}',
  'calibration.heads=2',
  'calibration.refinements=0',
]
const COMPARISONS = `comparisons=[
  {recipe: laplace, center: reference, methods: [sigma, shuffled, constant]},
  {recipe: dropout, center: none, methods: [sigma]},
  {recipe: layers, center: reference, methods: [sigma]}]`

const configOf = (...set: string[]): Promise<StudyConfig> =>
  loadConfig(studyConfigSchema, 'configs/laptop-smoke.yaml', { set })

describe('configuration', () => {
  test.each([
    ['comparisons.0.recipe', 'say heads.laplace', ['comparisons=[{recipe: laplace, center: none, methods: [sigma]}]']],
    ['comparisons.0.recipe', 'alone', ['comparisons=[{recipe: paper-keep-first, center: none, methods: [sigma]}]']],
    ['layout.heads', 'multiple of 2', [...SOURCES, 'layout.heads=3']],
    ['heads.layers.layers', 'end with 2', [...SOURCES, 'heads.layers.layers=[1, 3]']],
    ['heads.layers.layers', 'end with 2', [...SOURCES, 'heads.layers.layers=[2, 1]']],
    ['heads.laplace.priorPrecision', '', [...SOURCES, 'heads.laplace.priorPrecision=0']],
    ['heads.laplace', 'steps', [...SOURCES, 'heads.laplace.steps=4']],
    ['heads.dropout.rate', '', [...SOURCES, 'heads.dropout.rate=1']],
  ])('%s is refused: %s', async (key, text, set) => {
    const message = expect.stringMatching(new RegExp(`${key.replaceAll('.', '\\.')}.*${text}`, 's'))
    await expect(configOf(...set)).rejects.toMatchObject({ code: 'E_CONFIG', message })
  })

  test('a recipe with settings is a recipe of comparisons', async () => {
    const { arms, policies } = planStudy(await configOf(...SOURCES, COMPARISONS))
    expect(arms.map((arm) => arm.id)).toEqual([
      ...['laplace/vanilla', 'laplace/sigma/reference', 'laplace/shuffled/reference', 'laplace/constant/reference'],
      ...['dropout/vanilla', 'dropout/sigma/none', 'layers/vanilla', 'layers/sigma/reference'],
    ])
    expect(policies).toHaveLength(8 * 4)
  })

  test('an ensemble on layers has heads of every layer in turn, and no head is in two', async () => {
    const config = await configOf(...SOURCES, 'layout.heads=4')
    // Two ensembles and one for calibration: 12 heads, the last layer's 6 first.
    expect([0, 1].map((ensemble) => ensembleHeads(config, 'layers', ensemble))).toEqual([
      [0, 6, 1, 7],
      [2, 8, 3, 9],
    ])
    expect(calibrationHeads(config, 'layers')).toEqual([
      { ensemble: 2, head: 4 },
      { ensemble: 2, head: 10 },
    ])
    expect(ensembleHeads(config, 'laplace', 1)).toEqual([4, 5, 6, 7])
  })
})

describe('a study on other sources of sigma', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'prudent-source-recipes-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const runFolder = (name: string) => path.join(folder, name)
  const study = (name: string, ...more: string[]) => {
    const set = [...SOURCES, COMPARISONS, 'theory=null', 'independent=null', 'sources=null', 'executor.lanes=1']
    return runCommand([
      ...['study', '--config', 'configs/laptop-smoke.yaml', '--output', runFolder(name)],
      ...set.flatMap((entry) => ['--set', entry.replaceAll('\n', ' ')]),
      ...more,
    ])
  }
  const summaryOf = (name: string): Summary =>
    summarySchema.parse(JSON.parse(readFileSync(path.join(runFolder(name), 'summary.json'), 'utf8')))
  const numbersOf = (name: string) => {
    const { timings, peakMemoryBytes, environment, ...numbers } = summaryOf(name)
    return numbers
  }
  const expectDone = ({ code, stderr }: { code: number | null; stderr: string }) =>
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })

  beforeAll(async () => {
    expectDone(await study('whole'))
  }, 180_000)

  test('every arm has its policies, on rewards of their own, and its verdicts', () => {
    const summary = summaryOf('whole')
    expect(summary.arms.map((arm) => arm.policies)).toEqual(Array.from({ length: 8 }, () => 4))
    for (const recipe of ['laplace', 'dropout', 'layers']) {
      const own = summary.policies.filter((policy) => policy.arm === `${recipe}/vanilla`)
      expect(new Set(own.map((policy) => policy.proxyGain)).size).toBe(own.length)
      expect(summary.ensembles.filter((ensemble) => ensemble.recipe === recipe)).toHaveLength(2)
      expect(summary.sigma.filter((quality) => quality.recipe === recipe)).toHaveLength(3)
    }
    expect(summary.verdicts.list.filter((verdict) => verdict.primary)).toMatchObject([{ recipe: 'laplace' }])
    expect(readFileSync(path.join(runFolder('whole'), 'report.html'), 'utf8')).toContain(
      'draws from the Laplace posterior',
    )
  })

  test('ensembles share the sigma of a closed form, and have their own where it is over heads', () => {
    // Two ensembles of one sigma put two into a bin.
    const evenBins = ({ histogram }: Summary['sigma'][number]) => histogram.counts.every((count) => count % 2 === 0)
    for (const quality of summaryOf('whole').sigma.filter(({ center }) => center === 'reference'))
      expect([quality.recipe, evenBins(quality)]).toEqual([quality.recipe, /laplace|dropout/.test(quality.recipe)])
  })

  test('constant sigma is vanilla to the bit, the sigma of the posterior is not', () => {
    const { policies } = summaryOf('whole')
    const truths = (arm: string) => policies.filter((policy) => policy.arm === arm).map(({ truth }) => truth)
    expect(truths('laplace/constant/reference')).toEqual(truths('laplace/vanilla'))
    expect(truths('laplace/sigma/reference')).not.toEqual(truths('laplace/vanilla'))
  })

  test('the first ensemble of each is a model with its source, that every command scores with', async () => {
    const ids = [
      [5, 6, 7],
      [8, 9, 10, 11],
    ]
    for (const recipe of ['laplace', 'dropout', 'layers']) {
      const target = path.join(runFolder('whole'), 'models', `heads-${recipe}`)
      await using model = await RewardModel.load(target, { dtype: 'float32' })
      expect([model.uncertainty?.source, model.heads]).toEqual([recipe, 2])
      const scored = await model.score({ ids })
      const overHeads = scored.map(({ scores, mean }) =>
        Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0)),
      )
      const isOverHeads = scored.every(
        ({ std }, row) => Math.abs((std as number) / (overHeads[row] as number) - 1) < 1e-4,
      )
      expect(isOverHeads).toBe(recipe === 'layers')
    }
  })

  test('two shards at once end with the numbers of one process; again, nothing is done', async () => {
    const results = await Promise.all(['1/2', '2/2'].map((shard) => study('pair', '--shard', shard)))
    results.forEach(expectDone)
    expect(numbersOf('pair')).toEqual(numbersOf('whole'))
    const again = await study('whole')
    expectDone(again)
    expect(again.stderr).not.toContain(' …')
  }, 240_000)

  test('a hole is named', async () => {
    const stages = path.join(runFolder('pair'), 'stages')
    const arm = readdirSync(stages).find((stage) => /^policies-dropout-vanilla-[0-9a-f]+$/.test(stage)) as string
    rmSync(path.join(stages, arm, 'dropout.vanilla-e1-h1-t0.json'))
    const hole = await study('pair', '--aggregate')
    expect({ code: hole.code, named: hole.stderr.includes('dropout.vanilla-e1-h1-t0 missing') }).toEqual({
      code: 1,
      named: true,
    })
  }, 60_000)
})
