import { describe, expect, test } from '@jest/globals'
import type { ComparisonConfig } from '../../ts/study/config.js'
import { referenceSamples } from '../../ts/study/measure.js'
import { planStudy, policySeed, unitName } from '../../ts/study/plan.js'

const comparisons: ComparisonConfig[] = [
  { recipe: 'anchored', center: 'reference', methods: ['sigma', 'shuffled'] },
  { recipe: 'anchored', center: 'none', methods: ['sigma'], ensembles: 1 },
  { recipe: 'paper', center: 'none', methods: ['sigma'], ensembles: 2 },
]
const config = { seed: 7, layout: { ensembles: 4, heads: 10, trials: 1 }, comparisons }

describe('plan', () => {
  test('the same config gives the same plan, another seed another', () => {
    expect(planStudy(config)).toEqual(planStudy(structuredClone(config)))
    expect(planStudy({ ...config, seed: 8 }).policies).not.toEqual(planStudy(config).policies)
  })

  test('every arm once, vanilla of a recipe shared by its comparisons', () => {
    const { arms } = planStudy(config)
    expect(arms.map((arm) => `${arm.id} ${arm.ensembles}`)).toEqual([
      'anchored/vanilla 4',
      'anchored/sigma/reference 4',
      'anchored/shuffled/reference 4',
      'anchored/sigma/none 1',
      'paper/vanilla 2',
      'paper/sigma/none 2',
    ])
  })

  test('40 policies an arm, names unique', () => {
    const { policies } = planStudy(config)
    expect(policies.filter((unit) => unit.arm === 'anchored/vanilla')).toHaveLength(40)
    expect(policies.filter((unit) => unit.arm === 'anchored/sigma/none')).toHaveLength(10)
    expect(new Set(policies.map(unitName)).size).toBe(policies.length)
  })

  test('methods share seeds; ensembles, heads and trials do not', () => {
    const { policies } = planStudy({ ...config, layout: { ensembles: 2, heads: 3, trials: 4 } })
    const seedsOf = (arm: string) => policies.filter((unit) => unit.arm === arm).map((unit) => unit.seed)
    expect(seedsOf('anchored/vanilla')).toEqual(seedsOf('anchored/sigma/reference'))
    expect(new Set(seedsOf('anchored/vanilla')).size).toBe(2 * 3 * 4)
  })

  test("the paper's layout: 10 heads, 4 trials that differ", () => {
    const { policies } = planStudy({ ...config, layout: { ensembles: 1, heads: 10, trials: 4 } })
    const own = policies.filter((unit) => unit.arm === 'anchored/vanilla' && unit.head === 3)
    expect(own).toHaveLength(4)
    expect(new Set(own.map((unit) => unit.seed)).size).toBe(4)
    expect(policySeed(7, 0, 3, 0)).not.toBe(policySeed(7, 0, 3, 1))
  })

  test('exactly one comparison is primary', () => {
    expect(planStudy(config).comparisons.filter((comparison) => comparison.primary)).toHaveLength(1)
  })
})

test('the reference is sampled as often as a method has policies, unless told otherwise', () => {
  const evaluation = { responses: 8, gateSamples: 8, batchTokens: 8 }
  const layout = { ensembles: 10, heads: 10, trials: 1 }
  expect(referenceSamples({ layout, evaluation })).toBe(100)
  expect(referenceSamples({ layout, evaluation: { ...evaluation, referenceSamples: 7 } })).toBe(7)
})
