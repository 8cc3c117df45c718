import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import type { KlEstimator } from '../../ts/addon/native.js'
import { ops } from '../../ts/index.js'
import { relativeError, tolerances } from '../support/tolerances.js'

// Written by test/golden/generators/public_ops.py: numpy in float64, from classic TRL's algorithm.
type Numbers = number[]
interface Case<Input, Output> {
  input: Input & { shape: [number, number] }
  output: Output
}
interface AdvantageInput {
  logprobs: Numbers
  refLogprobs: Numbers
  values: Numbers
  scores: Numbers
  klWeights: Numbers
  responseLengths: Numbers
  klPerToken: Numbers
  gamma: number
  lambda: number
  whiten: boolean
  whitenRewards: boolean
  klPenalty: KlEstimator
}
type PpoArray = 'logprobs' | 'values' | 'oldLogprobs' | 'oldValues' | 'advantages' | 'returns'
type PpoInput = Record<PpoArray, Numbers> &
  Record<'clipRange' | 'clipRangeValue' | 'vfCoef' | 'ratioThreshold', number> & { responseLengths: Numbers }
interface PpoOutput {
  loss: number
  policyLoss: number
  valueLoss: number
  gradLogprobs: Numbers
  gradValues: Numbers
  stats: Record<string, number>
}
type PairOutput = Record<'lossPerHead' | 'accuracyPerHead' | 'gradChosen' | 'gradRejected', Numbers> & { loss: number }
interface Golden {
  varianceKlAdvantage: Case<AdvantageInput, Record<'rewards' | 'advantages' | 'returns' | 'kl', Numbers>>[]
  ppoLoss: Case<PpoInput, PpoOutput>[]
  bradleyTerry: Case<{ chosen: Numbers; rejected: Numbers }, PairOutput>[]
}

const file = new URL('../../../test/golden/data/kernels.json', import.meta.url)
const golden: Golden = JSON.parse(readFileSync(fileURLToPath(file), 'utf8'))
const tolerance = tolerances.operation

/** Relative to 1 where the expected values are small, as losses and whitened advantages are. */
function errorOf(actual: ArrayLike<number>, expected: Numbers): number {
  return relativeError(Array.from(actual), expected, [...expected, 1])
}

function advantages(input: Golden['varianceKlAdvantage'][number]['input']) {
  return ops.varianceKlAdvantage({
    ...input,
    logprobs: Float32Array.from(input.logprobs),
    refLogprobs: Float32Array.from(input.refLogprobs),
    values: Float32Array.from(input.values),
    scores: Float32Array.from(input.scores),
    klWeights: Float32Array.from(input.klWeights),
    responseLengths: Int32Array.from(input.responseLengths),
    klPerToken: Float32Array.from(input.klPerToken),
  })
}

function ppo(input: Golden['ppoLoss'][number]['input']) {
  return ops.ppoLoss({
    ...input,
    logprobs: Float32Array.from(input.logprobs),
    values: Float32Array.from(input.values),
    oldLogprobs: Float32Array.from(input.oldLogprobs),
    oldValues: Float32Array.from(input.oldValues),
    advantages: Float32Array.from(input.advantages),
    returns: Float32Array.from(input.returns),
    responseLengths: Int32Array.from(input.responseLengths),
  })
}

function pairs(input: Golden['bradleyTerry'][number]['input']) {
  return ops.bradleyTerry({
    ...input,
    chosen: Float32Array.from(input.chosen),
    rejected: Float32Array.from(input.rejected),
  })
}

describe('variance_kl_advantage against numpy', () => {
  const worst = async (
    input: Parameters<typeof advantages>[0],
    output: Golden['varianceKlAdvantage'][number]['output'],
  ) => {
    const ours = await advantages(input)
    const names = ['rewards', 'advantages', 'returns', 'kl'] as const
    return Math.max(...names.map((name) => errorOf(ours[name], output[name])))
  }
  it.each(golden.varianceKlAdvantage.map((one, index) => [index, one] as const))(
    'case %i',
    async (_, { input, output }) => {
      expect(await worst(input, output)).toBeLessThanOrEqual(tolerance)
      // The twin: other weights of the KL give other rewards.
      expect(await worst({ ...input, klWeights: input.klWeights.map((w) => w * 1.2) }, output)).toBeGreaterThan(
        tolerance,
      )
    },
  )
})

describe('ppo_loss against numpy', () => {
  const worst = async (input: Parameters<typeof ppo>[0], output: PpoOutput) => {
    const ours = await ppo(input)
    const tokens = input.responseLengths.reduce((sum, length) => sum + length, 0)
    const scaled = (values: ArrayLike<number>) => Array.from(values, (value) => value * tokens)
    const stats = Object.entries(output.stats).map(([name, value]) =>
      errorOf([ours.stats[name] ?? Number.NaN], [value]),
    )
    const errors = [
      errorOf([ours.loss, ours.policyLoss, ours.valueLoss], [output.loss, output.policyLoss, output.valueLoss]),
      errorOf(scaled(ours.gradLogprobs), scaled(output.gradLogprobs)),
      errorOf(scaled(ours.gradValues), scaled(output.gradValues)),
      ...stats,
    ]
    return errors.some(Number.isNaN) ? Number.POSITIVE_INFINITY : Math.max(...errors)
  }
  it.each(golden.ppoLoss.map((one, index) => [index, one] as const))('case %i', async (_, { input, output }) => {
    expect(await worst(input, output)).toBeLessThanOrEqual(tolerance)
    expect(await worst({ ...input, advantages: input.advantages.map((a) => a + 0.1) }, output)).toBeGreaterThan(
      tolerance,
    )
  })
})

describe('bradley_terry against numpy', () => {
  const worst = async (input: Parameters<typeof pairs>[0], output: PairOutput) => {
    const ours = await pairs(input)
    const names = ['lossPerHead', 'accuracyPerHead', 'gradChosen', 'gradRejected'] as const
    return Math.max(errorOf([ours.loss], [output.loss]), ...names.map((name) => errorOf(ours[name], output[name])))
  }
  it.each(golden.bradleyTerry.map((one, index) => [index, one] as const))('case %i', async (_, { input, output }) => {
    expect(await worst(input, output)).toBeLessThanOrEqual(tolerance)
    expect(await worst({ ...input, chosen: input.chosen.map((c) => c + 0.1) }, output)).toBeGreaterThan(tolerance)
  })
})
