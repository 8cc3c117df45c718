import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { correlation, histogram, quantile, variance } from '../../ts/evaluation/describe.js'
import { fUpper, normalCdf, normalQuantile, studentTwoSided } from '../../ts/study/statistics/distributions.js'
import {
  bootstrap,
  type IntervalEstimate,
  pairedMeanDifference,
  pairedRiskDifference,
  relativeDifference,
  resample,
  varianceRatio,
} from '../../ts/study/statistics/intervals.js'
import { brownForsythe, levene, pitmanMorgan, type TestResult } from '../../ts/study/statistics/tests.js'

interface PairedCase {
  x: number[]
  y: number[]
  pitmanMorgan: TestResult
  levene: TestResult
  brownForsythe: TestResult
  variance: number
  correlation: number
  quantiles: Record<string, number>
}
const golden = JSON.parse(readFileSync('test/golden/statistics.json', 'utf8')) as {
  paired: PairedCase[]
  intervals: (Record<'varianceRatio' | 'meanDifference' | 'relativeDifference', IntervalEstimate> & {
    draws: number[][]
    scipyVarianceRatio: [number, number]
  })[]
  risks: { cells: [number, number, number, number]; level: number; interval: IntervalEstimate }[]
  distributions: Record<'studentTwoSided' | 'fUpper' | 'normalCdf' | 'normalQuantile', number[][]>
}

/** Double precision sums over at most 80 values. */
const RELATIVE = 1e-9

function close(actual: number, expected: number): boolean {
  return Math.abs(actual - expected) <= RELATIVE * Math.max(Math.abs(expected), 1e-12)
}
function agrees(actual: TestResult, expected: TestResult): boolean {
  return close(actual.statistic, expected.statistic) && close(actual.p, expected.p)
}

describe('tests of equal variances agree with scipy', () => {
  test.each(golden.paired)('case %#', (row) => {
    expect(agrees(pitmanMorgan(row.x, row.y), row.pitmanMorgan)).toBe(true)
    expect(agrees(levene(row.x, row.y), row.levene)).toBe(true)
    expect(agrees(brownForsythe(row.x, row.y), row.brownForsythe)).toBe(true)
    expect(close(variance(row.x), row.variance)).toBe(true)
    expect(close(correlation(row.x, row.y), row.correlation)).toBe(true)
    for (const [q, value] of Object.entries(row.quantiles)) expect(close(quantile(row.x, Number(q)), value)).toBe(true)
  })

  test.each(golden.paired)('a value moved by 1e-6 is noticed, case %#', (row) => {
    const moved = row.x.map((value, i) => (i === 0 ? value + 1e-6 : value))
    expect(agrees(pitmanMorgan(moved, row.y), row.pitmanMorgan)).toBe(false)
    expect(agrees(levene(moved, row.y), row.levene)).toBe(false)
  })

  test('identical samples give no evidence', () => {
    expect(pitmanMorgan([1, 2, 4], [1, 2, 4])).toEqual({ statistic: 0, p: 1 })
  })
  test('samples of different lengths are refused', () => {
    expect(() => pitmanMorgan([1, 2, 3], [1, 2])).toThrow(/E_SHAPE|length/)
  })
})

test.each(golden.distributions.studentTwoSided)('Student t=%d df=%d', (t, df, p) =>
  expect(close(studentTwoSided(t, df), p ?? 0)).toBe(true),
)
test.each(golden.distributions.fUpper)('F=%d (%d, %d)', (f, a, b, p) =>
  expect(close(fUpper(f, a, b), p ?? 0)).toBe(true),
)
test.each(golden.distributions.normalCdf)('normal cdf at %d', (z, p) => expect(close(normalCdf(z), p ?? 0)).toBe(true))
test.each(golden.distributions.normalQuantile)('normal quantile at %d', (p, z) => {
  expect(Math.abs(normalQuantile(p) - (z ?? 0))).toBeLessThan(1e-9)
})

describe('intervals agree with numpy and scipy', () => {
  const closeInterval = (actual: IntervalEstimate, expected: IntervalEstimate) =>
    (['estimate', 'low', 'high'] as const).every(
      (key) => Math.abs(actual[key] - expected[key]) <= 1e-9 * Math.max(1, Math.abs(expected[key])),
    )
  const cases = golden.intervals.map((row, i) => ({ ...row, ...(golden.paired[i] as PairedCase) }))

  test.each(cases)('the percentile bootstrap with given draws, case %#', ({ x, y, draws, ...expected }) => {
    const options = { level: 0.95, draws: draws.map((rows) => Int32Array.from(rows)) }
    expect(closeInterval(varianceRatio(x, y, options), expected.varianceRatio)).toBe(true)
    expect(closeInterval(pairedMeanDifference(x, y, options), expected.meanDifference)).toBe(true)
    expect(closeInterval(relativeDifference(x, y, options), expected.relativeDifference)).toBe(true)
    const unpaired = varianceRatio(x, y.toReversed(), options)
    expect(closeInterval(unpaired, expected.varianceRatio)).toBe(false)
  })

  test.each(cases)(
    'the variance ratio with draws of its own, within the noise of resampling, case %#',
    ({ x, y, scipyVarianceRatio }) => {
      const { low, high } = varianceRatio(x, y, {
        level: 0.95,
        draws: resample(x.length, 10_000, Random.from(1, 'many')),
      })
      const [expectedLow, expectedHigh] = scipyVarianceRatio
      // A tail quantile of 10,000 draws has a relative error of about 2 % here, in each of the two.
      expect(Math.abs(Math.log(low / expectedLow))).toBeLessThan(0.1)
      expect(Math.abs(Math.log(high / expectedHigh))).toBeLessThan(0.1)
    },
  )

  test.each(golden.risks)('paired risks, cells $cells at $level', ({ cells, level, interval }) => {
    const pairs = cells.flatMap((count, i) => new Array<number>(count).fill(i))
    const treatment = pairs.map((cell) => cell === 0 || cell === 1)
    const baseline = pairs.map((cell) => cell === 0 || cell === 2)
    expect(closeInterval(pairedRiskDifference(treatment, baseline, level), interval)).toBe(true)
    const moved = cells[0] > 0 ? treatment.map((value, i) => (i === 0 ? !value : value)) : treatment.map(() => true)
    expect(closeInterval(pairedRiskDifference(moved, baseline, level), interval)).toBe(false)
  })
})

describe('intervals', () => {
  const options = (clusters = 40, count = 500, seed = 3) => ({
    level: 0.95,
    draws: resample(clusters, count, Random.from(seed, 'test')),
  })

  test('the bootstrap of a mean covers its normal interval', () => {
    const random = Random.from(1, 'values')
    const values = Array.from({ length: 200 }, () => random.normal(2, 1))
    const interval = pairedMeanDifference(
      values,
      values.map(() => 0),
      options(200, 1000),
    )
    expect(interval.high - interval.low).toBeGreaterThan((2 * 1.96 * 0.85) / Math.sqrt(200))
    expect(interval.high - interval.low).toBeLessThan((2 * 1.96 * 1.15) / Math.sqrt(200))
  })

  test('nominal 95 % of the variance ratio covers the truth in at least 85 % of small studies', () => {
    const random = Random.from(5, 'coverage')
    const studies = 80
    let covered = 0
    const draws = options(40, 300)
    for (let i = 0; i < studies; i += 1) {
      const baseline = Array.from({ length: 40 }, () => random.normal())
      const treatment = baseline.map((value) => 0.5 * value + Math.sqrt(0.25) * random.normal())
      const interval = varianceRatio(treatment, baseline, draws)
      if (interval.low <= 0.5 && interval.high >= 0.5) covered += 1
    }
    expect(covered / studies).toBeGreaterThan(0.85)
    expect(covered / studies).toBeLessThanOrEqual(1)
  })

  test('the same stream gives the same interval, another does not', () => {
    const [x, y] = [golden.paired[1]?.x ?? [], golden.paired[1]?.y ?? []]
    expect(varianceRatio(x, y, options())).toEqual(varianceRatio(x, y, options()))
    expect(varianceRatio(x, y, options(40, 500, 4))).not.toEqual(varianceRatio(x, y, options()))
  })

  test('resamples without variance are left out', () => {
    const interval = bootstrap(2, (rows) => (rows[0] === rows[1] ? Number.NaN : 1), options(2))
    expect(interval).toEqual({ estimate: 1, low: 1, high: 1 })
  })

  test('paired risks: plain estimate, an interval even without discordant pairs', () => {
    const none = new Array<boolean>(40).fill(false)
    const some = none.map((_, i) => i < 8)
    const flat = pairedRiskDifference(none, none, 0.95)
    expect(flat.estimate).toBe(0)
    expect(flat.low).toBeLessThan(0)
    expect(flat.high).toBeGreaterThan(0)
    const lower = pairedRiskDifference(none, some, 0.95)
    expect(lower.estimate).toBeCloseTo(-0.2)
    expect(lower.high).toBeLessThan(0)
  })
})

test('histograms count every value once', () => {
  const result = histogram([0, 0.5, 1, 1, 4], 4)
  expect(result.counts).toEqual([2, 2, 0, 1])
  expect(result.edges).toEqual([0, 1, 2, 3, 4])
  expect(histogram([2, 2], 3).counts.reduce((a, b) => a + b)).toBe(2)
})
