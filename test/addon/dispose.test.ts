import { describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { createPolicy, createScorer, LARGE, longRows, rejection, rowsOf, SMALL_BATCH } from './small-models.js'

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: { code?: string }) => error.code,
  )

describe('dispose', () => {
  test('awaits the running call, cancels those that wait, refuses new ones; twice is fine', async () => {
    const model = await createScorer(2, LARGE)
    const order: string[] = []
    let running = false
    const first = model
      .score(longRows(20), SMALL_BATCH, {
        progress: () => {
          running = true
        },
      })
      .then((scores) => order.push(`first ${scores.length}`))
    const waiting = [1, 2].map(() =>
      code(model.score(rowsOf([4]), SMALL_BATCH)).then((result) => order.push(`waiting ${result}`)),
    )
    while (!running) await new Promise((resolve) => setTimeout(resolve, 1))
    const disposed = model.dispose().then(() => order.push('disposed'))
    const again = model.dispose()
    expect(await code(model.score(rowsOf([4]), SMALL_BATCH))).toBe('E_DISPOSED')
    await Promise.all([first, ...waiting, disposed, again, model.dispose()])
    expect(order).toEqual(['waiting E_CANCELLED', 'waiting E_CANCELLED', 'first 40', 'disposed'])
  })

  test('every method of a disposed handle says so', async () => {
    const model = await createPolicy()
    await model.dispose()
    const rows = rowsOf([3])
    const generate = {
      ...SMALL_BATCH,
      maxNewTokens: 1,
      eosTokenIds: [],
      greedy: true,
      temperature: 1,
      topK: 0,
      topP: 1,
      seed: 0,
    }
    const calls = [
      model.score(rows, SMALL_BATCH),
      model.logprobs(rows, SMALL_BATCH),
      model.hiddenStates(rows, SMALL_BATCH),
      model.logits(rows, SMALL_BATCH),
      model.cacheFeatures(rows, SMALL_BATCH),
      model.generate(rows, generate),
      model.scoreWeight(),
      model.setScoreWeight(new Float32Array(24), 1),
      model.addValueHead(0),
      model.clone(),
      model.save('/nowhere'),
      loadAddon().createLanguageModelTrainer(model, { batchTokens: 8 }),
    ]
    expect(await Promise.all(calls.map(code))).toEqual(calls.map(() => 'E_DISPOSED'))
    expect(() => model.info()).toThrow(expect.objectContaining({ code: 'E_DISPOSED' }))
  })

  test('a trainer keeps the weights it works on', async () => {
    const model = await createPolicy()
    const trainer = await loadAddon().createLanguageModelTrainer(model, { batchTokens: 64 })
    await model.dispose()
    expect((await trainer.step(rowsOf([5, 6]), { lr: 1e-3 })).tokens).toBe(9)
    await trainer.dispose()
    expect((await rejection(trainer.step(rowsOf([5]), { lr: 1e-3 }))).code).toBe('E_DISPOSED')
  })

  test('features and what was made from them', async () => {
    const addon = loadAddon()
    const model = await createScorer(2)
    const features = await model.cacheFeatures(rowsOf([3, 4, 5]), SMALL_BATCH)
    await model.dispose()
    expect(features.info()).toEqual({ rows: 3, hidden: 24 })
    const trainer = await addon.createHeadsTrainer(features, { heads: 2, initial: new Float32Array(48) })
    await features.dispose()
    expect(await code(features.toArray())).toBe('E_DISPOSED')
    expect(
      (await trainer.step(Int32Array.of(0), Int32Array.of(1), { lr: 0.1, perHead: false })).lossPerHead,
    ).toHaveLength(2)
    await trainer.dispose()
  })
})
