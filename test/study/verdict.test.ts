import { describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import type { PrudentError } from '../../ts/errors.js'
import { headlineOf, requireComplete } from '../../ts/study/aggregate.js'
import { planStudy } from '../../ts/study/plan.js'
import type { Check, PolicyResult, Verdict } from '../../ts/study/summary.js'
import { compareArms, decide, type JudgedPolicy } from '../../ts/study/verdict.js'

const rules = { level: 0.95, resamples: 800, holdsBelow: 1, failsAbove: 0.8, maxRiskIncrease: 0, klTolerance: 0.03 }

function arm(scale: number, options: { kl?: number; trials?: number; label?: string } = {}): JudgedPolicy[] {
  const random = Random.from(11, options.label ?? 'arm')
  const { trials = 1, kl = 1.3 } = options
  return Array.from({ length: 40 }, (_, i) => i).flatMap((i) => {
    const shared = random.normal()
    return Array.from({ length: trials }, (_, trial) => {
      const value = scale * (shared + 0.1 * random.normal())
      return { ensemble: Math.floor(i / 10), head: i % 10, trial, finalKl: kl, value, belowReference: value < -1 }
    })
  })
}
const check = (passed: boolean): Check => ({
  name: 'thing',
  value: 1,
  rule: '>=',
  threshold: passed ? 0 : 2,
  passed,
  meaning: 'It matters.',
})

function outcomeOf(
  baseline: JudgedPolicy[],
  treatment: JudgedPolicy[],
  checks: { preconditions?: Check[]; gate?: Check[] } = {},
) {
  const numbers = compareArms({ baseline, treatment, rules, random: Random.from(1, 'verdict') })
  return { ...decide(numbers, { preconditions: [check(true)], gate: [check(true)], rules, ...checks }), numbers }
}

describe('verdict', () => {
  test('holds when the variance falls to a quarter at equal KL', () => {
    const result = outcomeOf(arm(1), arm(0.5))
    expect(result.outcome).toBe('holds')
    expect(result.numbers.varianceRatio.estimate).toBeCloseTo(0.25, 5)
    expect(result.numbers.riskDifference.estimate).toBeLessThan(0)
  })
  test('fails when the variance grows', () => expect(outcomeOf(arm(1), arm(2)).outcome).toBe('fails'))
  test('an arm compared with another draw of itself is not called better', () => {
    expect(outcomeOf(arm(1), arm(1, { label: 'other' })).outcome).not.toBe('holds')
  })
  test('inconclusive when KL differs by more than the tolerance', () => {
    const result = outcomeOf(arm(1), arm(0.5, { kl: 1.4 }))
    expect(result.outcome).toBe('inconclusive')
    expect(result.reasons[0]).toContain('KL')
  })
  test('inconclusive with a closed gate, not trained without preconditions; the failed check is named', () => {
    expect(outcomeOf(arm(1), arm(0.5), { gate: [check(false)] }).outcome).toBe('inconclusive')
    const untrained = outcomeOf(arm(1), arm(0.5), { preconditions: [check(false)] })
    expect(untrained.outcome).toBe('not trained')
    expect(untrained.reasons[0]).toContain('thing')
  })
  test('trials of one head are one cluster', () => {
    const numbers = outcomeOf(arm(1, { trials: 4 }), arm(0.5, { trials: 4 })).numbers
    expect(numbers.clusters).toBe(40)
    expect(numbers.policies).toBe(160)
    expect(numbers.varianceRatio.estimate).toBeCloseTo(0.25, 5)
  })
  test('ten identical heads give no false certainty: the interval of ten clusters is wide', () => {
    const ten = (policies: JudgedPolicy[]) => policies.filter((policy) => policy.ensemble === 0)
    const width = ({ varianceRatio: ratio }: { varianceRatio: { low: number; high: number } }) => ratio.high / ratio.low
    const [few, many] = [
      outcomeOf(ten(arm(1)), ten(arm(0.8, { label: 'b' }))),
      outcomeOf(arm(1), arm(0.8, { label: 'b' })),
    ]
    expect(width(few.numbers)).toBeGreaterThan(width(many.numbers))
  })
})

describe('aggregation', () => {
  const plan = planStudy({
    seed: 1,
    layout: { ensembles: 1, heads: 2, trials: 1 },
    comparisons: [{ recipe: 'anchored', center: 'none', methods: ['sigma'] }],
  })
  const results = plan.policies.map(
    (unit): PolicyResult => ({ ...unit, beta: 1, finalKl: 1, proxyGain: 1, truth: 0, judge: 0, belowReference: false }),
  )

  test('a whole set passes', () => expect(() => requireComplete(plan, results)).not.toThrow())
  test('a hole is named', () => {
    const missing = () => requireComplete(plan, results.slice(1))
    expect(missing).toThrow(/anchored\.vanilla-e0-h0-t0/)
    try {
      missing()
    } catch (error) {
      expect((error as PrudentError).code).toBe('E_STATE')
    }
  })
  test('a policy twice, or one that nobody planned, is refused', () => {
    expect(() => requireComplete(plan, [...results, results[0] as PolicyResult])).toThrow(/twice/)
    expect(() => requireComplete(plan, [...results, { ...(results[0] as PolicyResult), head: 9 }])).toThrow(
      /not planned/,
    )
  })
})

describe('headline', () => {
  const verdict = (treatment: string, outcome: Verdict['outcome'], primary = false) =>
    ({
      ...{ treatment, outcome, primary, recipe: 'anchored', center: 'reference', judge: 'truth' },
      ...{ reasons: ['A.', 'B.'], varianceRatio: { estimate: 0.71, low: 0.6, high: 0.9 } },
    }) as Verdict
  const sigma = (outcome: Verdict['outcome']) => verdict('anchored/sigma/reference', outcome, true)
  const shuffled = (outcome: Verdict['outcome']) => verdict('anchored/shuffled/reference', outcome)

  test('says when the control holds as well', () => {
    const { outcome, sentence } = headlineOf([sigma('holds'), shuffled('holds')])
    expect(outcome).toBe('holds')
    expect(sentence).toMatch(/^A\. B\. The control.*holds too \(0\.71\)/)
  })
  test.each([
    [[sigma('holds'), shuffled('inconclusive')]],
    [[sigma('inconclusive'), shuffled('holds')]],
    [[sigma('holds')]],
    [[sigma('holds'), { ...shuffled('holds'), judge: 'model' as const }]],
  ])('and nothing of it otherwise, %#', (list) => expect(headlineOf(list).sentence).toBe('A. B.'))
  test('without a primary comparison there is no claim', () => expect(headlineOf([]).outcome).toBe('inconclusive'))
})
