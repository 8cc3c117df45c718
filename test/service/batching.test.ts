import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { ScoringService } from '../../ts/serve/fastify.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { ENSEMBLE } from './apps.js'

let model: RewardModel
beforeAll(async () => {
  model = await RewardModel.load(ENSEMBLE, { dtype: 'float32' })
})
afterAll(() => model.dispose())

/** Rows of many lengths, some of which begin alike. */
const rows = Array.from({ length: 48 }, (_, row) =>
  Array.from({ length: 3 + ((row * 7) % 60) }, (_, at) => 3 + (((row % 5) * 17 + at * (1 + (row % 3))) % 500)),
)

function serviceWith(settings: { fixedShapes?: boolean; maxWaitMs?: number }): ScoringService {
  return new ScoringService({ name: 'ensemble', model: model.native, tokenizer: null, settings })
}

const scoresOf = async (service: ScoringService, ids: number[]) =>
  (await service.score([{ ids }])).rows[0]?.scores as Float32Array

async function alone(): Promise<number[]> {
  const service = serviceWith({ maxWaitMs: 0 })
  const scores: number[] = []
  for (const ids of rows) scores.push(...(await scoresOf(service, ids)))
  expect(service.statistics.forwards).toBe(rows.length)
  await service.dispose()
  return scores
}

describe('the scores of a request', () => {
  test('do not depend on what it shared a forward with', async () => {
    const service = serviceWith({ maxWaitMs: 20 })
    const together = (await Promise.all(rows.map((ids) => scoresOf(service, ids)))).flatMap((scores) => [...scores])
    expect(service.statistics.forwards).toBeLessThan(rows.length / 4)
    const reference = await alone()
    expect(relativeError(together, reference)).toBeLessThan(tolerances.batching)
    // The twin that must fail: requests that got each other's scores.
    expect(relativeError([...together.slice(10), ...together.slice(0, 10)], reference)).toBeGreaterThan(
      tolerances.batching * 100,
    )
    await service.dispose()
  })

  test('are the same to the last bit with fixed shapes', async () => {
    const service = serviceWith({ fixedShapes: true })
    const together = (await Promise.all(rows.map((ids) => scoresOf(service, ids)))).flatMap((scores) => [...scores])
    expect(together).toEqual(await alone())
    await service.dispose()
  })
})
