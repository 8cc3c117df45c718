import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { BradleyTerryArgs, PpoLossArgs, VarianceKlAdvantageArgs } from '../../ts/addon/native.js'
import { ops } from '../../ts/addon/ops.js'
import { plainBradleyTerry, plainPpoLoss, plainVarianceKlAdvantage } from './plain-ops.js'

/** fp32 sums of some dozen terms against the same in double. */
const CLOSE = 2e-5

function expectClose(actual: Float32Array | number, expected: Float32Array | number, tolerance = CLOSE): void {
  const [a, b] = [actual, expected].map((value) => (typeof value === 'number' ? [value] : Array.from(value))) as [
    number[],
    number[],
  ]
  expect(a.length).toBe(b.length)
  a.forEach((value, index) => {
    const other = b[index] as number
    if (!(Math.abs(value - other) <= tolerance * Math.max(1, Math.abs(other))))
      throw new Error(`[${index}]: ${value} is not ${other}`)
  })
}

const value = fc.float({ min: -3, max: 3, noNaN: true })
const floats = (length: number) =>
  fc.array(value, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values))

/** [batch, time] with lengths between 1 and time; what lies outside them is NaN, which no op may read. */
const grid = fc
  .tuple(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 2, max: 7 }))
  .chain(([batch, time]) =>
    fc.tuple(
      fc.constant([batch, time] as [number, number]),
      fc.array(fc.integer({ min: 1, max: time }), { minLength: batch, maxLength: batch }),
    ),
  )

function masked(values: Float32Array, lengths: readonly number[], time: number): Float32Array {
  return values.map((entry, index) =>
    index % time < (lengths[Math.floor(index / time)] as number) ? entry : Number.NaN,
  )
}

const advantageArgs: fc.Arbitrary<VarianceKlAdvantageArgs> = grid.chain(([shape, lengths]) => {
  const [batch, time] = shape
  const matrix = floats(batch * time).map((values) => masked(values, lengths, time))
  return fc.record({
    logprobs: matrix,
    refLogprobs: matrix,
    values: matrix,
    klPerToken: matrix,
    scores: floats(batch),
    klWeights: floats(batch).map((weights) => weights.map(Math.abs)),
    responseLengths: fc.constant(Int32Array.from(lengths)),
    shape: fc.constant(shape),
    gamma: fc.constantFrom(1, 0.9),
    lambda: fc.constantFrom(0.95, 0.5, 0, 1),
    whiten: fc.boolean(),
    klPenalty: fc.constantFrom('kl' as const, 'abs' as const, 'mse' as const, 'full' as const, 'k3' as const),
  })
})

/** Whitening multiplies the rounding of advantages by this: their size over their standard deviation, which may be tiny. */
function whiteningCondition(args: VarianceKlAdvantageArgs): number {
  const { advantages, returns } = plainVarianceKlAdvantage({ ...args, whiten: false })
  const valid = Array.from(advantages).filter((_, index) => {
    const [, time] = args.shape
    return index % time < (args.responseLengths[Math.floor(index / time)] as number)
  })
  const mean = valid.reduce((sum, entry) => sum + entry, 0) / valid.length
  const variance = valid.reduce((sum, entry) => sum + (entry - mean) ** 2, 0) / (valid.length - 1)
  const largest = Math.max(...[...advantages, ...returns].map(Math.abs))
  return Math.max(1, largest / Math.sqrt(variance + 1e-8))
}

describe('varianceKlAdvantage', () => {
  test('is the plain loops', async () => {
    await fc.assert(
      fc.asyncProperty(advantageArgs, async (args) => {
        const [actual, expected] = [await ops.varianceKlAdvantage(args), plainVarianceKlAdvantage(args)]
        for (const name of ['rewards', 'returns', 'kl'] as const) expectClose(actual[name], expected[name])
        expectClose(actual.advantages, expected.advantages, args.whiten ? CLOSE * whiteningCondition(args) : CLOSE)
      }),
      { numRuns: 80 },
    )
  })

  test('a weight that is off by a hundredth is noticed', async () => {
    const args: VarianceKlAdvantageArgs = {
      logprobs: Float32Array.of(-1, -2, -1, -3),
      refLogprobs: Float32Array.of(-2, -1, -1.5, -1),
      values: Float32Array.of(0.1, 0.2, 0.3, 0.4),
      scores: Float32Array.of(1, -1),
      klWeights: Float32Array.of(0.5, 0.25),
      responseLengths: Int32Array.of(2, 1),
      shape: [2, 2],
    }
    const other = { ...args, klWeights: Float32Array.of(0.505, 0.25) }
    expectClose((await ops.varianceKlAdvantage(args)).rewards, Float32Array.of(-0.5, 0.5 + 1, -0.125 - 1, 0))
    expect(() => expectClose(plainVarianceKlAdvantage(other).rewards, plainVarianceKlAdvantage(args).rewards)).toThrow()
  })

  test('inputs are copied at the call', async () => {
    const logprobs = new Float32Array(6).fill(-1)
    const zeros = new Float32Array(6)
    const args = {
      logprobs,
      refLogprobs: zeros,
      values: zeros,
      scores: new Float32Array(2),
      klWeights: Float32Array.of(1, 1),
      responseLengths: Int32Array.of(3, 3),
      shape: [2, 3] as [number, number],
    }
    const pending = ops.varianceKlAdvantage(args)
    logprobs.fill(100)
    expect(Array.from((await pending).kl)).toEqual(new Array(6).fill(-1))
  })
})

const lossArgs: fc.Arbitrary<PpoLossArgs> = grid.chain(([shape, lengths]) => {
  const matrix = floats(shape[0] * shape[1]).map((values) => masked(values, lengths, shape[1]))
  const record = {
    logprobs: matrix,
    values: matrix,
    oldLogprobs: matrix,
    oldValues: matrix,
    advantages: matrix,
    returns: matrix,
  }
  const rest = {
    responseLengths: fc.constant(Int32Array.from(lengths)),
    shape: fc.constant(shape),
    ratioThreshold: fc.constant(1e6),
    vfCoef: fc.constantFrom(0, 0.1, 1),
  }
  return fc.record({ ...record, ...rest })
})

describe('ppoLoss', () => {
  test('is the plain loops, its gradients their differences', async () => {
    await fc.assert(
      fc.asyncProperty(lossArgs, async (args) => {
        const [actual, expected] = [await ops.ppoLoss(args), plainPpoLoss(args)]
        for (const name of ['loss', 'policyLoss', 'valueLoss'] as const) expectClose(actual[name], expected[name], 1e-4)
        expectGradient(actual.gradLogprobs, args, 'logprobs')
        expectGradient(actual.gradValues, args, 'values')
      }),
      { numRuns: 40 },
    )
  })

  test('above the ratio threshold losses and gradients are 0', async () => {
    const zeros = new Float32Array(2)
    const args = {
      logprobs: Float32Array.of(3, 3),
      values: zeros,
      oldLogprobs: zeros,
      oldValues: zeros,
      advantages: Float32Array.of(1, 1),
      returns: Float32Array.of(1, 1),
      responseLengths: Int32Array.of(2),
      shape: [1, 2] as [number, number],
    }
    expect((await ops.ppoLoss({ ...args, ratioThreshold: 30 })).loss).not.toBe(0)
    const skipped = await ops.ppoLoss(args)
    expect(
      [skipped.loss, skipped.stats.skipped, ...skipped.gradLogprobs, ...skipped.gradValues].map((entry) =>
        Math.abs(entry as number),
      ),
    ).toEqual([0, 1, 0, 0, 0, 0])
  })
})

/** Central differences; entries where the two sides disagree sit on a kink of the loss and say nothing. */
function expectGradient(gradient: Float32Array, args: PpoLossArgs, name: 'logprobs' | 'values'): void {
  const step = 1e-3
  const lossAt = (index: number, delta: number) => {
    const moved = Float64Array.from(args[name])
    moved[index] = (moved[index] as number) + delta
    return plainPpoLoss({ ...args, [name]: moved as unknown as Float32Array }).loss
  }
  gradient.forEach((actual, index) => {
    if (index % args.shape[1] >= (args.responseLengths[Math.floor(index / args.shape[1])] as number)) {
      expect(actual).toBe(0)
      return
    }
    const [below, here, above] = [lossAt(index, -step), lossAt(index, 0), lossAt(index, step)] as [
      number,
      number,
      number,
    ]
    const [left, right] = [(here - below) / step, (above - here) / step]
    if (Math.abs(left - right) > 0.02 * Math.max(1, Math.abs(left))) return
    const expected = (above - below) / (2 * step)
    if (Math.abs(actual - expected) > 0.01 * Math.max(1, Math.abs(expected)))
      throw new Error(`${name}[${index}]: ${actual} is not ${expected}`)
  })
}

const pairArgs: fc.Arbitrary<BradleyTerryArgs> = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 11 }))
  .chain(([pairs, heads]) =>
    fc.record({
      chosen: floats(pairs * heads),
      rejected: floats(pairs * heads),
      shape: fc.constant([pairs, heads] as [number, number]),
    }),
  )

describe('bradleyTerry', () => {
  test('is the plain loops', async () => {
    await fc.assert(
      fc.asyncProperty(pairArgs, async (args) => {
        const [actual, expected] = [await ops.bradleyTerry(args), plainBradleyTerry(args)]
        for (const name of ['loss', 'lossPerHead', 'accuracyPerHead', 'gradChosen', 'gradRejected'] as const)
          expectClose(actual[name], expected[name])
      }),
      { numRuns: 80 },
    )
  })

  test('a tie is not accurate, and huge margins do not overflow', async () => {
    const result = await ops.bradleyTerry({
      chosen: Float32Array.of(1, 200, -200),
      rejected: Float32Array.of(1, -200, 200),
      shape: [3, 1],
    })
    expect(result.accuracyPerHead[0]).toBeCloseTo(1 / 3)
    expect(result.loss).toBeCloseTo((Math.LN2 + 400) / 3, 3)
  })
})
