/** Arguments of native calls that nobody wrote: each ends in a result or in a coded error that is no defect, and the process lives. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { callNative } from '../../ts/addon/call.js'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel, NativeOps } from '../../ts/addon/native.js'
import { ERROR_CODES } from '../../ts/errors.js'
import { TINY } from '../support/train-runs.js'

const runs = Number(process.env.PRUDENT_FUZZ_RUNS ?? 200)
const seed = Number(process.env.PRUDENT_FUZZ_SEED ?? 20)

/** `ok`, or the code of the error. */
async function endingOf(body: () => Promise<unknown>): Promise<string> {
  try {
    await callNative(undefined, body)
    return 'ok'
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}
const isGood = (ending: string) => ending === 'ok' || (ending in ERROR_CODES && ending !== 'E_INTERNAL')

const number = fc.oneof(
  fc.integer({ min: -3, max: 9 }),
  fc.constantFrom(0, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 63), 1e300, Number.NaN, Number.POSITIVE_INFINITY),
)
const float = fc.oneof(fc.float(), fc.constantFrom(0, -0, Number.NaN, Number.POSITIVE_INFINITY, 3.4e38))
const junk = fc.oneof(
  number,
  fc.constantFrom<unknown>(null, undefined, true, '', 'full', [], {}, 1n),
  fc.array(number, { maxLength: 3 }),
  fc.array(float, { maxLength: 12 }).map((list) => Float32Array.from(list)),
  fc.array(number, { maxLength: 6 }).map((list) => Int32Array.from(list)),
  fc.array(number, { maxLength: 3 }).map((list) => Float64Array.from(list)),
  fc.constant(new Uint8Array(4)),
)

/** Arguments that are right, of which a few are replaced, left out or added to. */
function nearly(good: Record<string, unknown>) {
  const keys = [...Object.keys(good), 'unknown']
  const change = fc.tuple(fc.constantFrom(...keys), fc.oneof({ weight: 4, arbitrary: junk }, fc.constant(REMOVED)))
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const made: Record<string, unknown> = { ...good }
    for (const [key, value] of changes) {
      if (value === REMOVED) delete made[key]
      else made[key] = value
    }
    return made
  })
}
const REMOVED = Symbol('removed')

const floats = (count: number) => Float32Array.from({ length: count }, (_, index) => Math.sin(index))
const GOOD: Record<keyof NativeOps, Record<string, unknown>> = {
  varianceKlAdvantage: {
    ...{ logprobs: floats(6), refLogprobs: floats(6), values: floats(6), scores: floats(2), klWeights: floats(2) },
    ...{ responseLengths: Int32Array.of(3, 2), shape: [2, 3], gamma: 1, lambda: 0.95, whiten: true, klPenalty: 'kl' },
  },
  ppoLoss: {
    ...{ logprobs: floats(6), values: floats(6), oldLogprobs: floats(6), oldValues: floats(6), advantages: floats(6) },
    ...{ returns: floats(6), responseLengths: Int32Array.of(3, 2), shape: [2, 3], clipRange: 0.2, vfCoef: 0.1 },
  },
  bradleyTerry: { chosen: floats(6), rejected: floats(6), shape: [3, 2] },
}

describe('operations', () => {
  test.each(Object.keys(GOOD) as (keyof NativeOps)[])('%s', async (name) => {
    const call = (args: unknown) => (loadAddon().ops[name] as (given: unknown) => Promise<unknown>)(args)
    expect(await endingOf(() => call(GOOD[name]))).toBe('ok')
    await fc.assert(
      fc.asyncProperty(nearly(GOOD[name]), async (args) => isGood(await endingOf(() => call(args)))),
      { numRuns: runs, seed },
    )
    await fc.assert(
      fc.asyncProperty(junk, async (args) => isGood(await endingOf(() => call(args)))),
      { numRuns: runs, seed },
    )
  })
})

describe('a model', () => {
  let model: NativeModel
  beforeAll(async () => {
    const config = JSON.stringify({ ...TINY.gpt2, vocab_size: 40, bos_token_id: 0, eos_token_id: 0 })
    model = await loadAddon().createModel(config, { task: 'causal-lm', dtype: 'float32', device: 'cpu', seed: 1 })
  })
  afterAll(() => model.dispose())

  const rows = { ids: Int32Array.of(1, 2, 3, 4, 5), lengths: Int32Array.of(3, 2) }
  const sampling = { maxNewTokens: 2, eosTokenIds: [0], greedy: false, temperature: 1, topK: 0, topP: 1, seed: 0 }
  const options = nearly({ batchTokens: 64, sharePrefixes: true })
  test('rows and options', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(nearly(rows), junk), options, async (given, call) =>
        isGood(await endingOf(() => model.logprobs(given as never, call as never))),
      ),
      { numRuns: runs, seed },
    )
    const generate = nearly({ ...sampling, batchTokens: 64, minNewTokens: 1, rowKeys: Float64Array.of(0, 1) })
    await fc.assert(
      fc.asyncProperty(fc.oneof(nearly(rows), fc.constant(rows)), generate, async (given, call) =>
        isGood(await endingOf(() => model.generate(given as never, call as never))),
      ),
      { numRuns: runs, seed },
    )
    // And it is as usable as before.
    expect(await model.logprobs(rows, { batchTokens: 64 })).toHaveLength(3)
  })
  test('configurations', async () => {
    const config = { ...TINY.gemma, vocab_size: 40 } as Record<string, unknown>
    const value = fc.oneof(
      fc.integer({ min: -2, max: 6 }),
      fc.constantFrom<unknown>(null, '', 'gelu', [], {}, 0.5, 1e-30),
    )
    const changes = fc.array(fc.tuple(fc.constantFrom(...Object.keys(config)), value), { maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(changes, async (list) => {
        const text = JSON.stringify({ ...config, ...Object.fromEntries(list) })
        const make = async () => {
          const made = await loadAddon().createModel(text, { task: 'causal-lm', dtype: 'float32', device: 'cpu' })
          await made.logprobs({ ids: Int32Array.of(1, 2), lengths: Int32Array.of(2) }, { batchTokens: 8 })
          await made.dispose()
        }
        return isGood(await endingOf(make))
      }),
      { numRuns: runs, seed },
    )
  })
})
