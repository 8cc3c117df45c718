import { expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { packRows } from '../../ts/data/batching.js'
import { Random } from '../../ts/data/random.js'
import { cachePairFeatures } from '../../ts/training/features.js'
import { laplaceSource } from '../../ts/uncertainty/laplace.js'
import { measure, spreadColumns, stackedWeight } from '../../ts/uncertainty/linear-source.js'
import { pairDifferences } from '../../ts/uncertainty/pair-differences.js'
import { TINY } from '../support/train-runs.js'

test('one forward of a model with the stacked weight gives mean and sigma of a Laplace head', async () => {
  const options = { task: 'sequence-classification', dtype: 'float32', device: 'cpu', allowNewHead: true } as const
  const config = JSON.stringify({ ...TINY.gemma, vocab_size: 50 })
  const model = await loadAddon().createModel(config, { ...options, numLabels: 1, seed: 1 })
  const random = Random.from(1, 'rows')
  const row = () => Int32Array.from({ length: 6 }, () => random.integer(3, 50))
  const pairs = { chosen: Array.from({ length: 20 }, row), rejected: Array.from({ length: 20 }, row) }
  const features = await cachePairFeatures(model, pairs, { batchTokens: 64 })
  try {
    const differences = await pairDifferences(features)
    const source = laplaceSource(differences, { hidden: model.info().hiddenSize, priorPrecision: 2 })
    const expected = measure(source, await features.cache.toArray())
    const columns = source.heads + spreadColumns(source).length
    await model.setScoreWeight(stackedWeight(source), columns)
    const scores = await model.score(packRows([...pairs.chosen, ...pairs.rejected]), { batchTokens: 64 })
    for (let at = 0; at < 40; at++) {
      const own = scores.subarray(at * columns, (at + 1) * columns)
      expect(own[0]).toBeCloseTo(expected.mean[at] as number, 3)
      const sigma = Math.sqrt(spreadColumns(source).reduce((sum, column) => sum + (own[column] as number) ** 2, 0))
      expect(sigma).toBeCloseTo(expected.sigma[at] as number, 3)
      expect(own[0]).toBeCloseTo(scoreOf(await features.cache.toArray(), at, source.weights), 3)
    }
    // The head has learned its pairs.
    const right = differences.length / source.hidden
    let margins = 0
    for (let pair = 0; pair < right; pair++) margins += scoreOf(differences, pair, source.weights)
    expect(margins).toBeGreaterThan(0)
  } finally {
    await features.cache.dispose()
    await model.dispose()
  }
})

function scoreOf(features: Float32Array, row: number, weights: Float32Array): number {
  return weights.reduce((sum, weight, k) => sum + weight * (features[row * weights.length + k] as number), 0)
}
