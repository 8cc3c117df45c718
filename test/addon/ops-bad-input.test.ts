import { describe, expect, test } from '@jest/globals'
import { ops } from '../../ts/addon/ops.js'
import { PrudentError } from '../../ts/errors.js'
import { rejection } from './small-models.js'

type Args = Record<string, unknown>
const six = () => new Float32Array(6)

/** Valid arguments of each op: 2 rows of time 3, or 2 pairs of 3 heads. */
const VALID: Record<keyof typeof ops, () => Args> = {
  varianceKlAdvantage: () => ({
    logprobs: six(),
    refLogprobs: six(),
    values: six(),
    scores: new Float32Array(2),
    klWeights: new Float32Array(2),
    responseLengths: Int32Array.of(3, 1),
    shape: [2, 3],
  }),
  ppoLoss: () => ({
    logprobs: six(),
    values: six(),
    oldLogprobs: six(),
    oldValues: six(),
    advantages: six(),
    returns: six(),
    responseLengths: Int32Array.of(3, 1),
    shape: [2, 3],
  }),
  bradleyTerry: () => ({ chosen: six(), rejected: six(), shape: [2, 3] }),
}

const run = (op: keyof typeof ops, args: unknown) => (ops[op] as (given: unknown) => Promise<unknown>)(args)

async function expectRejected(op: keyof typeof ops, change: Args, code: string, argument: string): Promise<void> {
  const error = await rejection(run(op, { ...VALID[op](), ...change }))
  expect(error).toBeInstanceOf(PrudentError)
  expect({ code: error.code, argument: error.argument }).toEqual({ code, argument })
  expect(error.message).toBe(`${error.argument}: expected ${error.expected}, received ${error.received}`)
}

describe.each(Object.keys(VALID) as (keyof typeof ops)[])('%s', (op) => {
  const arrays = Object.entries(VALID[op]()).filter(([, value]) => ArrayBuffer.isView(value)) as [
    string,
    Float32Array | Int32Array,
  ][]

  test('takes the valid arguments', async () => {
    await expect(run(op, VALID[op]())).resolves.toBeDefined()
  })

  test.each(arrays.map(([name]) => name))('%s of a wrong length, type, or missing', async (name) => {
    const value = VALID[op]()[name] as Float32Array | Int32Array
    const longer =
      value instanceof Int32Array ? new Int32Array(value.length + 1).fill(1) : new Float32Array(value.length + 1)
    await expectRejected(op, { [name]: longer }, 'E_SHAPE', name)
    await expectRejected(op, { [name]: value.slice(1) }, 'E_SHAPE', name)
    await expectRejected(op, { [name]: Float64Array.from(value) }, 'E_DTYPE', name)
    await expectRejected(op, { [name]: Array.from(value) }, 'E_DTYPE', name)
    await expectRejected(
      op,
      { [name]: value instanceof Int32Array ? Float32Array.from(value) : Int32Array.from(value) },
      'E_DTYPE',
      name,
    )
    await expectRejected(op, { [name]: null }, 'E_DTYPE', name)
    await expectRejected(op, { [name]: undefined }, 'E_DTYPE', name)
  })

  test('a detached array', async () => {
    const [name, value] = arrays[0] as [string, Float32Array]
    const detached = value.slice()
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    await expectRejected(op, { [name]: detached }, 'E_SHAPE', name)
  })

  test('a shape that is none', async () => {
    for (const [entry, code] of [
      [Number.NaN, 'E_RANGE'],
      [-2, 'E_RANGE'],
      [0, 'E_RANGE'],
      [2.5, 'E_RANGE'],
      [Number.POSITIVE_INFINITY, 'E_RANGE'],
      [2 ** 31, 'E_RANGE'],
      ['2', 'E_TYPE'],
      [undefined, 'E_TYPE'],
    ] as const) {
      await expectRejected(op, { shape: [entry, 3] }, code, 'shape[0]')
      await expectRejected(op, { shape: [2, entry] }, code, 'shape[1]')
    }
    for (const shape of [undefined, null, 6, '2,3', [6], [1, 2, 3], Int32Array.of(2, 3)])
      await expectRejected(op, { shape }, 'E_TYPE', 'shape')
    await expectRejected(op, { shape: [2147483647, 2147483647] }, 'E_SHAPE', arrays[0]?.[0] as string)
  })

  test('an unknown key', async () => {
    await expectRejected(op, { gama: 1 }, 'E_TYPE', 'gama')
  })

  test('arguments that are no object', async () => {
    for (const args of [null, 3, 'x', [], six(), () => 0]) expect((await rejection(run(op, args))).code).toBe('E_TYPE')
    expect((await rejection(run(op, undefined))).code).toBe('E_TYPE')
  })

  test('a getter that throws rejects with what it threw', async () => {
    const args = Object.defineProperty(VALID[op](), 'shape', {
      enumerable: true,
      get: () => {
        throw new RangeError('mine')
      },
    })
    expect(await rejection(run(op, args))).toMatchObject({ name: 'RangeError', message: 'mine' })
  })
})

describe.each(['varianceKlAdvantage', 'ppoLoss'] as const)('%s', (op) => {
  test('response lengths outside [1, time]', async () => {
    await expectRejected(op, { responseLengths: Int32Array.of(3, 0) }, 'E_RANGE', 'responseLengths[1]')
    await expectRejected(op, { responseLengths: Int32Array.of(-1, 1) }, 'E_RANGE', 'responseLengths[0]')
    await expectRejected(op, { responseLengths: Int32Array.of(4, 1) }, 'E_RANGE', 'responseLengths[0]')
  })
})

test('settings outside their range', async () => {
  for (const name of ['gamma', 'lambda'] as const) {
    for (const value of [-0.1, 1.1, Number.NaN])
      await expectRejected('varianceKlAdvantage', { [name]: value }, 'E_RANGE', name)
    await expectRejected('varianceKlAdvantage', { [name]: '1' }, 'E_TYPE', name)
  }
  await expectRejected('varianceKlAdvantage', { klPenalty: 'k4' }, 'E_RANGE', 'klPenalty')
  await expectRejected('varianceKlAdvantage', { klPenalty: 'full' }, 'E_DTYPE', 'klPerToken')
  await expectRejected('varianceKlAdvantage', { whiten: 1 }, 'E_TYPE', 'whiten')
  for (const name of ['clipRange', 'clipRangeValue', 'ratioThreshold']) {
    for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      await expectRejected('ppoLoss', { [name]: value }, 'E_RANGE', name)
  }
  await expectRejected('ppoLoss', { vfCoef: -0.1 }, 'E_RANGE', 'vfCoef')
})
