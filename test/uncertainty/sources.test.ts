import { expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { createObjective } from '../../ts/policy/objectives.js'
import { objectiveSettings } from '../../ts/policy/settings.js'
import { checkLayers } from '../../ts/uncertainty/layers.js'
import { dropoutSource, headsSource, measure, type UncertaintySource } from '../../ts/uncertainty/linear-source.js'

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

test('wrong inputs are named', () => {
  expect(() => dropoutSource(Float32Array.of(1), { rate: 1, layer: 1 })).toThrow('rate')
  expect(() => headsSource(Float32Array.of(1, 2), 1)).toThrow('weights')
  expect(() => checkLayers([2, 1, 3], 3, 6)).toThrow('uncertainty.layers')
  expect(() => checkLayers([1, 2], 3, 6)).toThrow('that end with 3')
  expect(() => checkLayers([1, 3], 3, 5)).toThrow('training.heads')
  checkLayers([1, 3], 3, 6)
})
