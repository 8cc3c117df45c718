/** The theory: distribution functions against scipy, simulations against closed forms, and the command. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { threeArms } from '../../ts/theory/bandit.js'
import { chiSquareCdf, noncentralChiSquareCdf } from '../../ts/theory/chi-square.js'
import { simulateCoverage } from '../../ts/theory/coverage.js'
import { moments, probability } from '../../ts/theory/estimates.js'
import { Normals } from '../../ts/theory/normals.js'
import {
  compareOptima,
  distance,
  exactOptimum,
  makeProblem,
  numericalOptimum,
  objective,
  printedOptimum,
} from '../../ts/theory/optimum.js'
import { PAPER_SETTINGS, type ReturnResult, simulateReturns } from '../../ts/theory/returns.js'
import { runCommand } from '../support/run-command.js'

const golden = JSON.parse(readFileSync('test/golden/theory.json', 'utf8')) as Record<string, number[][]>

describe('chi-square', () => {
  test.each(golden.chiSquareCdf as number[][])('cdf at %d with %d degrees of freedom is scipy’s', (x, df, expected) => {
    expect(Math.abs(chiSquareCdf(x as number, df as number) - (expected as number))).toBeLessThan(1e-11)
  })

  test.each(golden.noncentralChiSquareCdf as number[][])(
    'noncentral at %d, %d, %d is scipy’s',
    (x, df, nc, expected) => {
      const actual = noncentralChiSquareCdf(x as number, df as number, nc as number)
      expect(Math.abs(actual - (expected as number))).toBeLessThan(1e-10)
    },
  )

  test('a noncentrality that is lost would be seen', () => {
    const [x, df, , expected] = (golden.noncentralChiSquareCdf as number[][])[6] as number[]
    expect(Math.abs(chiSquareCdf(x as number, df as number) - (expected as number))).toBeGreaterThan(0.1)
  })
})

test('normals have the moments of normals, are seeded, and are independent of the block they are drawn in', () => {
  const values = new Float64Array(400_000)
  new Normals(1, 'a').fill(values)
  const mean = values.reduce((sum, z) => sum + z, 0) / values.length
  const power = (k: number) => values.reduce((sum, z) => sum + z ** k, 0) / values.length
  // Five standard errors of each moment.
  expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(values.length))
  expect(Math.abs(power(2) - 1)).toBeLessThan((5 * Math.sqrt(2)) / Math.sqrt(values.length))
  expect(Math.abs(power(4) - 3)).toBeLessThan((5 * Math.sqrt(96)) / Math.sqrt(values.length))
  const halves = new Normals(1, 'a')
  const [first, second] = [new Float64Array(200_000), new Float64Array(200_000)]
  halves.fill(first)
  halves.fill(second)
  expect(Buffer.from(first.buffer).equals(Buffer.from(values.buffer, 0, first.byteLength))).toBe(true)
  expect(second[0]).toBe(values[200_000])
  new Normals(2, 'a').fill(first)
  expect(first[0]).not.toBe(values[0])
})

test('intervals: Wilson’s holds its ends, that of a deviation knows heavy tails', () => {
  expect(probability(0, 100)).toMatchObject({ estimate: 0, low: 0 })
  expect(probability(0, 100).high).toBeCloseTo(0.037, 3)
  expect(probability(100, 100)).toMatchObject({ estimate: 1, high: 1 })
  const { mean, std } = moments(Float64Array.of(1, 2, 3, 4))
  expect(mean.estimate).toBe(2.5)
  expect(std.estimate).toBeCloseTo(Math.sqrt(5 / 3), 12)
})

describe('figures 3 to 5', () => {
  const results: ReturnResult[] = []
  beforeAll(async () => {
    for (const setting of PAPER_SETTINGS)
      results.push(await simulateReturns(setting, { dimension: 1000, draws: 4000, seed: 3 }))
  })

  test('the paper’s standard deviations and equal means', () => {
    const [high, low] = results.map(({ stdUnaware, stdAware }) => [stdUnaware.toFixed(2), stdAware.toFixed(2)])
    expect(high).toEqual(['0.13', '0.04'])
    expect(low).toEqual(['0.14', '0.12'])
    for (const { meanUnaware, meanAware } of results) expect(Math.abs(meanUnaware - meanAware)).toBeLessThan(0.01)
  })

  test('theorem 3.3: closed forms within four standard errors of the simulation, and the aware policy’s never larger', () => {
    for (const { underperformance, draws } of results) {
      for (const { unaware, aware } of underperformance) {
        for (const { estimate, closedForm } of [unaware, aware]) {
          const error = Math.sqrt((closedForm * (1 - closedForm)) / draws)
          expect(Math.abs(estimate - closedForm)).toBeLessThan(4 * error + 1 / draws)
        }
        expect(aware.closedForm).toBeLessThanOrEqual(unaware.closedForm)
      }
    }
  })
})

test('theorem 2.2: the exact probability is what is simulated, the printed bound is not', async () => {
  const points = await simulateCoverage(5)
  const outside = points.filter(({ simulated, exact }) => exact < simulated.low || exact > simulated.high)
  // 54 intervals of 95 %, dependent within a dimension: eight would be far too many.
  expect(outside.length).toBeLessThan(8)
  expect(points.some(({ printed, simulated }) => printed > simulated.high + 0.5)).toBe(true)
})

describe('theorem 3.6', () => {
  test('the optimum with the multiplier is the numerical one, and nothing near it is better', () => {
    const problem = makeProblem(Random.from(9, 'problem'))
    const exact = exactOptimum(problem, 0.7)
    expect(exact.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12)
    expect(distance(exact, numericalOptimum(problem, 0.7))).toBeLessThan(1e-9)
    const best = objective(problem, 0.7, exact)
    const nudged = exact.slice()
    nudged[0] = (nudged[0] as number) * 0.9
    nudged[1] = (nudged[1] as number) + (exact[0] as number) * 0.1
    expect(objective(problem, 0.7, nudged)).toBeLessThan(best)
    expect(objective(problem, 0.7, printedOptimum(problem, 0.7))).toBeLessThan(best)
  })

  test('with one variance for all responses both forms agree', () => {
    const problem = makeProblem(Random.from(10, 'problem'))
    const flat = { ...problem, variance: problem.variance.map(() => 1.7) }
    expect(distance(exactOptimum(flat, 0.4), printedOptimum(flat, 0.4))).toBeLessThan(1e-12)
  })

  test('over many problems: the printed form is moved by a constant, falls short, and earns less at one constraint', () => {
    const { distance: far, shortfall, shifted, atEqualConstraint } = compareOptima(4)
    expect(far.exact).toBeLessThan(1e-8)
    expect(far.printed).toBeGreaterThan(0.05)
    expect(shortfall.printed).toBeGreaterThan(shortfall.exact)
    expect(shifted.exact).toBeLessThan(1e-8)
    expect(shifted.printed).toBeGreaterThan(0.01)
    expect(atEqualConstraint.exact).toBeGreaterThan(atEqualConstraint.printed)
  })
})

test('figure 2: the unaware step prefers the worst arm, the aware one does not', () => {
  const { arms, returns } = threeArms()
  expect(arms[0]?.unaware).toBeGreaterThan(arms[0]?.reference as number)
  expect(arms[0]?.aware).toBeLessThan(arms[0]?.unaware as number)
  expect(returns.unaware).toBeLessThan(returns.reference)
  expect(returns.aware).toBeGreaterThan(returns.reference)
  for (const policy of ['unaware', 'aware'] as const) {
    expect(arms.reduce((sum, arm) => sum + arm[policy], 0)).toBeCloseTo(1, 12)
    expect(arms.every((arm) => arm[policy] >= 0)).toBe(true)
  }
})

test('prudent theory writes summary.json and a page, the same for the same seed; an odd dimension is refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'prudent-theory-'))
  const run = (output: string, dimension: string, draws = '500') =>
    promisify(execFile)(process.execPath, [
      ...['bin/prudent.js', 'theory', '--output', join(folder, output)],
      ...['--draws', draws, '--dimension', dimension, '--seed', '7'],
    ])
  try {
    await Promise.all([run('a', '50'), run('b', '50')])
    const summary = readFileSync(join(folder, 'a', 'summary.json'), 'utf8')
    expect(summary).toBe(readFileSync(join(folder, 'b', 'summary.json'), 'utf8'))
    expect(JSON.parse(summary)).toMatchObject({
      kind: 'theory',
      settings: [{ stdUnaware: expect.closeTo(0.13, 6) }, {}],
    })
    const page = readFileSync(join(folder, 'a', 'report.html'), 'utf8')
    expect(page.match(/<svg /g)).toHaveLength(4)
    expect(page).not.toContain('NaN')
    await expect(run('c', '50', '1')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('>= 2') })
    await writeFile(join(folder, 'd'), '')
    await expect(run('d', '50')).rejects.toMatchObject({ stderr: expect.stringContaining('error E_EXISTS') })
    await expect(run('c', '51')).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('even integer') })
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)

test('prudent theory stops while it draws', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'prudent-theory-'))
  try {
    const parameters = ['theory', '--output', folder, '--draws', '100000000']
    const stopped = await runCommand(parameters, {
      started: (child) => {
        child.stderr?.on('data', (text: string) => {
          if (text.includes('figures 3 to 5')) child.kill('SIGTERM')
        })
      },
    })
    expect(stopped).toMatchObject({ code: 143, signal: null })
    expect(readdirSync(folder)).toEqual([])
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
