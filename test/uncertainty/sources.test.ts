import { expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { scoreMatrix } from '../../ts/evaluation/score-matrix.js'
import { sigmaOf } from '../../ts/evaluation/sigma.js'
import { createObjective } from '../../ts/policy/objectives.js'
import { objectiveSettings } from '../../ts/policy/settings.js'
import { checkLayers } from '../../ts/uncertainty/layers.js'
import {
  drawHeads,
  dropoutSource,
  headsSource,
  measure,
  pickHeads,
  type UncertaintySource,
} from '../../ts/uncertainty/linear-source.js'

const random = Random.from(3, 'sources')
const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal())

/** What a model gives: rewards, then the columns of the spread. */
function forward({ weights, spread, heads }: UncertaintySource, features: Float32Array): Float32Array {
  const hidden = weights.length / heads
  const matrix = [...weights, ...(spread?.factor ?? [])]
  const columns = matrix.length / hidden
  return Float32Array.from({ length: (features.length / hidden) * columns }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns]
    let sum = 0
    for (let k = 0; k < hidden; k++)
      sum += (features[row * hidden + k] as number) * (matrix[column * hidden + k] as number)
    return sum
  })
}

test('dropout in closed form is the variance over masks', () => {
  const [head, x, rate] = [normals(5), normals(5), 0.3]
  const { sigma, mean } = measure(dropoutSource(head, { rate, layer: 1 }), x)
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

test('many fixed masks of dropout come near the closed form, few are drawn by seed', () => {
  const [head, x] = [normals(20), normals(20)]
  const sigmaOf = (passes?: number, seed = 0) =>
    measure(dropoutSource(head, { rate: 0.25, layer: 1, passes, seed }), x).sigma[0] as number
  // The relative error of a standard deviation over n draws is about 1 / sqrt(2 n) = 0.011; five of them.
  expect(Math.abs(sigmaOf(4000) / sigmaOf() - 1)).toBeLessThan(0.06)
  expect(sigmaOf(3, 1)).toBe(sigmaOf(3, 1))
  expect(sigmaOf(3, 1)).not.toBe(sigmaOf(3, 2))
})

test('objectives take sigma from any source, raw and centred', () => {
  const [rows, hidden] = [6, 3]
  const features = normals(rows * hidden)
  const sources = [
    headsSource(normals(4 * hidden), 4),
    dropoutSource(normals(hidden), { rate: 0.2, layer: 1 }),
    dropoutSource(normals(hidden), { rate: 0.2, layer: 1, passes: 5 }),
  ]
  const origin = normals(hidden)
  for (const source of sources) {
    const scores = forward(source, features)
    const heads = scores.length / rows
    const spread = source.spread && Array.from({ length: source.spread.rank }, (_, index) => source.heads + index)
    const ensemble = Array.from({ length: source.heads }, (_, head) => head)
    const given = { scores, heads, proxy: 0, ensemble, spread: spread ?? undefined, beta: 0.5, random: Random.from(0) }
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

/** One head with any factor, as Laplace's. */
const closedForm = (hidden: number, rank: number): UncertaintySource => ({
  ...{ source: 'laplace', layers: [1], fit: {}, hidden, heads: 1, scoreHeads: 1 },
  ...{ weights: normals(hidden), spread: { rank, factor: normals(rank * hidden) } },
})

test('heads drawn from a closed form have its mean and its variance, and leave its sigma as it is', () => {
  const source = closedForm(5, 3)
  const [features, count] = [normals(4 * 5), 20_000]
  const drawn = drawHeads(source, count, 7)
  const heads = headsSource(drawn.weights, count)
  const [closed, sampled] = [measure(source, features), measure(heads, features)]
  for (let row = 0; row < 4; row++) {
    const sigma = closed.sigma[row] as number
    // Relative error of a standard deviation over n draws is about 1 / sqrt(2 n) = 0.005, of a mean sigma / sqrt(n) = 0.007 sigma; five of them.
    expect(Math.abs((sampled.sigma[row] as number) / sigma - 1)).toBeLessThan(0.025)
    expect(Math.abs((sampled.mean[row] as number) - (closed.mean[row] as number))).toBeLessThan(0.035 * sigma)
  }
  expect(measure({ ...drawn, spread: source.spread }, features).sigma).toEqual(closed.sigma)
  // A head depends on seed and number, not on how many there are.
  expect(drawHeads(source, 3, 7).weights).toEqual(drawn.weights.slice(0, 15))
  expect(drawHeads(source, 3, 8).weights).not.toEqual(drawn.weights.slice(0, 15))
  expect(() => drawHeads(heads, 2, 1)).toThrow('closed form')
})

test('picked heads are rows of their source, those of the last layer counted', () => {
  const source: UncertaintySource = {
    ...{ source: 'layers', layers: [1, 2], fit: { headsPerLayer: 2 }, hidden: 1, heads: 4, scoreHeads: 2 },
    ...{ weights: Float32Array.of(0, 1, 0, 2, 3, 0, 4, 0), spread: null },
  }
  const picked = pickHeads(source, [1, 2])
  expect([...picked.weights]).toEqual([0, 2, 3, 0])
  expect(picked).toMatchObject({ heads: 2, scoreHeads: 1, fit: { headsPerLayer: 1 } })
})

test("sigma of a spread's columns is that of the source, raw and centred", () => {
  const [source, rows] = [closedForm(4, 2), 6]
  const features = normals(rows * 4)
  const all = scoreMatrix(forward(source, features), 3)
  const columns = (from: number, to: number) =>
    scoreMatrix(
      all.values.filter((_, index) => index % 3 >= from && index % 3 < to),
      to - from,
    )
  const given = { scores: columns(0, 1), spread: columns(1, 3) }
  const means = Array.from({ length: 4 }, (_, k) => features.reduce((s, x, i) => (i % 4 === k ? s + x / rows : s), 0))
  const centred = features.map((value, index) => value - (means[index % 4] as number))
  const close = (sigma: Float64Array, x: Float32Array) =>
    measure(source, x).sigma.every((value, row) => Math.abs(value - (sigma[row] as number)) < 1e-4)
  expect(close(sigmaOf(given, 'none', []), features)).toBe(true)
  expect(close(sigmaOf(given, 'reference', []), centred)).toBe(true)
  // The twin: raw sigma is not centred sigma.
  expect(close(sigmaOf(given, 'none', []), centred)).toBe(false)
})

test('wrong inputs are named', () => {
  expect(() => dropoutSource(Float32Array.of(1), { rate: 1, layer: 1 })).toThrow('rate')
  expect(() => headsSource(Float32Array.of(1, 2), 1)).toThrow('weights')
  expect(() => checkLayers([2, 1, 3], 3, 6)).toThrow('uncertainty.layers')
  expect(() => checkLayers([1, 2], 3, 6)).toThrow('that end with 3')
  expect(() => checkLayers([1, 3], 3, 5)).toThrow('training.heads')
  checkLayers([1, 3], 3, 6)
})
