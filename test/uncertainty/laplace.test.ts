import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { PairFeatures } from '../../ts/training/types.js'
import { laplaceSource } from '../../ts/uncertainty/laplace.js'
import { measure } from '../../ts/uncertainty/linear-source.js'
import { relativeError, tolerances } from '../support/tolerances.js'

interface LaplaceCase {
  pairs: number
  hidden: number
  features: number[]
  priorPrecision: number
  mode: number[]
  points: number[]
  sigma: number[]
  logEvidence: number
  effectiveParameters: number
  mackayPrecision: number
}
const golden = JSON.parse(readFileSync('test/golden/uncertainty.json', 'utf8')) as { laplace: LaplaceCase[] }

/** features: chosen rows, then rejected ones, [2 * pairs, hidden]. */
async function pairFeatures(features: ArrayLike<number>, hidden: number): Promise<PairFeatures> {
  const rows = features.length / hidden
  const cache = await loadAddon().createFeatureCache(Float32Array.from(features), rows, hidden)
  const chosen = Int32Array.from({ length: rows / 2 }, (_, pair) => pair)
  return { cache, chosen, rejected: chosen.map((pair) => pair + rows / 2) }
}

/** One feature a row: d_i = values[i] - 0. */
const differences = (values: readonly number[]) => pairFeatures([...values, ...values.map(() => 0)], 1)

test.each(golden.laplace)(
  'mode, sigma, evidence and MacKay precision as numpy has them, hidden $hidden',
  async (given) => {
    const features = await pairFeatures(given.features, given.hidden)
    const source = await laplaceSource(features, { layer: 1, priorPrecision: given.priorPrecision })
    expect(relativeError([...source.weights], given.mode)).toBeLessThan(tolerances.operation)
    const points = Float32Array.from(given.points)
    const sigma = [...measure(source, points).sigma]
    expect(relativeError(sigma, given.sigma)).toBeLessThan(tolerances.operation)
    expect(relativeError([source.fit.logEvidence as number], [given.logEvidence])).toBeLessThan(tolerances.operation)
    expect(relativeError([source.fit.effectiveParameters as number], [given.effectiveParameters])).toBeLessThan(
      tolerances.operation,
    )
    // The fixed point is left when it moves by less than a thousandth.
    const chosen = await laplaceSource(features, { layer: 1 })
    expect(Math.abs((chosen.fit.priorPrecision as number) / given.mackayPrecision - 1)).toBeLessThan(5e-3)
    // Another prior is another posterior, and is seen.
    const other = await laplaceSource(features, { layer: 1, priorPrecision: given.priorPrecision * 1.01 })
    expect(relativeError([...measure(other, points).sigma], given.sigma)).toBeGreaterThan(tolerances.operation)
  },
)

test('in one dimension: mode and variance by bisection and by hand', async () => {
  const d = [1, -0.5, 2, 0.7]
  const precision = 0.5
  const slope = (w: number) => precision * w - d.reduce((sum, x) => sum + x / (1 + Math.exp(x * w)), 0)
  let [low, high] = [-50, 50]
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2
    if (slope(middle) > 0) high = middle
    else low = middle
  }
  const hessian = precision + d.reduce((sum, x) => sum + (x * x) / (2 + 2 * Math.cosh(x * low)), 0)
  const source = await laplaceSource(await differences(d), { layer: 1, priorPrecision: precision })
  expect(source.weights[0]).toBeCloseTo(low, 5)
  expect(measure(source, Float32Array.of(3)).sigma[0]).toBeCloseTo(3 / Math.sqrt(hessian), 5)
  expect(measure(source, Float32Array.of(3)).sigma[0]).not.toBeCloseTo(3 / hessian, 3)
})

test('more pairs than one chunk holds weigh as often as they stand there', async () => {
  const pattern = [1, -0.5, 2, 0.7]
  const times = 1500
  const repeated = Array.from({ length: times }, () => pattern).flat()
  const many = await laplaceSource(await differences(repeated), { layer: 1, priorPrecision: times })
  const once = await laplaceSource(await differences(pattern), { layer: 1, priorPrecision: 1 })
  expect(many.weights[0]).toBeCloseTo(once.weights[0] as number, 6)
  const sigma = (source: typeof many) => measure(source, Float32Array.of(1)).sigma[0] as number
  expect(sigma(many) * Math.sqrt(times)).toBeCloseTo(sigma(once), 5)
})

test('a direction without data has the variance of the prior, one with data less', async () => {
  const rows = Float32Array.from({ length: 80 * 3 }, (_, index) => (index % 3 === 2 ? 1 : Math.sin(index ** 2)))
  const source = await laplaceSource(await pairFeatures(rows, 3), { layer: 1, priorPrecision: 4 })
  expect(measure(source, Float32Array.of(0, 0, 1)).sigma[0]).toBeCloseTo(1 / 2, 6)
  expect(source.weights[2]).toBe(0)
  expect(measure(source, Float32Array.of(1, 0, 0)).sigma[0]).toBeLessThan(0.45)
})

test('wrong inputs are named', async () => {
  const one = await differences([1])
  await expect(laplaceSource(one, { layer: 1, priorPrecision: 0 })).rejects.toMatchObject({
    argument: 'priorPrecision',
  })
  await expect(laplaceSource({ ...one, rejected: Int32Array.of(7) }, { layer: 1 })).rejects.toMatchObject({
    code: 'E_RANGE',
    argument: 'rejected',
  })
  await expect(laplaceSource({ ...one, chosen: new Int32Array(0) }, { layer: 1 })).rejects.toMatchObject({
    code: 'E_SHAPE',
  })
  await expect(laplaceSource(await differences([Number.NaN]), { layer: 1 })).rejects.toMatchObject({
    code: 'E_NON_FINITE',
    argument: 'features',
  })
})

test('it ends when it is told to', async () => {
  const signal = AbortSignal.abort(new Error('enough'))
  await expect(laplaceSource(await differences([1, 2]), { layer: 1, signal })).rejects.toMatchObject({
    code: 'E_CANCELLED',
  })
})
