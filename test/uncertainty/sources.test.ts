import { expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { createObjective } from '../../ts/policy/objectives.js'
import { objectiveSettings } from '../../ts/policy/settings.js'
import { laplaceSource } from '../../ts/uncertainty/laplace.js'
import {
  dropoutSource,
  headsSource,
  measure,
  spreadColumns,
  stackedWeight,
  type UncertaintySource,
} from '../../ts/uncertainty/linear-source.js'

const random = Random.from(3, 'sources')
const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal())

/** One forward of a model whose score.weight is the stacked one. */
function forward(source: UncertaintySource, features: Float32Array): Float32Array {
  const weight = stackedWeight(source)
  const [columns, hidden] = [weight.length / source.hidden, source.hidden]
  return Float32Array.from({ length: (features.length / hidden) * columns }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns]
    let sum = 0
    for (let k = 0; k < hidden; k++)
      sum += (features[row * hidden + k] as number) * (weight[column * hidden + k] as number)
    return sum
  })
}

test('Laplace in one dimension: mode and variance by bisection and by hand', () => {
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
  const source = laplaceSource(Float32Array.from(d), { hidden: 1, priorPrecision: precision })
  expect(source.weights[0]).toBeCloseTo(low, 5)
  expect(measure(source, Float32Array.of(3)).sigma[0]).toBeCloseTo(3 / Math.sqrt(hessian), 5)
  expect(measure(source, Float32Array.of(3)).sigma[0]).not.toBeCloseTo(3 / hessian, 3)
})

test('Laplace: a direction without data has the variance of the prior, one with data less', () => {
  const differences = normals(40 * 3).map((value, index) => (index % 3 === 2 ? 0 : value))
  const { weights, spread, ...rest } = laplaceSource(differences, { hidden: 3, priorPrecision: 4 })
  const unseen = measure({ weights, spread, ...rest }, Float32Array.of(0, 0, 1))
  expect(unseen.sigma[0]).toBeCloseTo(1 / 2, 6)
  expect(weights[2]).toBe(0)
  const seen = measure({ weights, spread, ...rest }, Float32Array.of(1, 0, 0))
  expect(seen.sigma[0]).toBeLessThan(0.45)
})

test('dropout in closed form is the variance over masks', () => {
  const [head, x, rate] = [normals(5), normals(5), 0.3]
  const { sigma, mean } = measure(dropoutSource(head, rate), x)
  const terms = Array.from(head, (weight, index) => weight * (x[index] as number))
  let [first, second] = [0, 0]
  for (let mask = 0; mask < 32; mask++) {
    const kept = terms.filter((_, index) => mask & (1 << index))
    const chance = (1 - rate) ** kept.length * rate ** (5 - kept.length)
    const score = kept.reduce((sum, term) => sum + term, 0) / (1 - rate)
    first += chance * score
    second += chance * score ** 2
  }
  expect(mean[0]).toBeCloseTo(first, 5)
  expect(sigma[0]).toBeCloseTo(Math.sqrt(second - first ** 2), 5)
})

test('objectives take sigma from any source, raw and centred', () => {
  const [rows, hidden] = [6, 3]
  const features = normals(rows * hidden)
  const sources = [
    headsSource(normals(4 * hidden), 4),
    dropoutSource(normals(hidden), 0.2),
    laplaceSource(normals(30 * hidden), { hidden, priorPrecision: 1 }),
  ]
  const origin = normals(hidden)
  for (const source of sources) {
    const scores = forward(source, features)
    const heads = scores.length / rows
    const spread = source.spread === null ? undefined : spreadColumns(source)
    const ensemble = Array.from({ length: source.heads }, (_, head) => head)
    const given = { scores, heads, proxy: 0, ensemble, spread, beta: 0.5, random: Random.from(0) }
    const objective = createObjective(objectiveSettings.parse({ kind: 'variance-kl' }))
    const expectSigma = (sigma: Float32Array | null, x: Float32Array) =>
      measure(source, x).sigma.forEach((value, row) => {
        expect(sigma?.[row]).toBeCloseTo(value, 4)
      })
    expectSigma(objective({ ...given, centers: null }).sigma, features)
    const centred = features.map((value, index) => value - (origin[index % hidden] as number))
    expectSigma(objective({ ...given, centers: forward(source, origin) }).sigma, centred)
  }
})

test('wrong inputs are named', () => {
  expect(() => laplaceSource(Float32Array.of(1, 2, 3), { hidden: 2, priorPrecision: 1 })).toThrow('differences')
  expect(() => laplaceSource(Float32Array.of(1), { hidden: 1, priorPrecision: 0 })).toThrow('priorPrecision')
  expect(() => laplaceSource(Float32Array.of(Number.NaN), { hidden: 1, priorPrecision: 1 })).toThrow('differences')
  expect(() => dropoutSource(Float32Array.of(1), 1)).toThrow('rate')
  expect(() => headsSource(Float32Array.of(1, 2), 1)).toThrow('weights')
})
