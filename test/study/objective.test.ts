/**
 * An enumerable policy: one prompt, one token, a reward and a sigma per token. Where PPO settles is known in closed form, for KL inside
 * the reward (the paper) and for the exact gradient, and the best policy is found numerically besides.
 */
import { beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { packRows } from '../../ts/data/batching.js'
import { Random } from '../../ts/data/random.js'
import { ppoSettings } from '../../ts/policy/settings.js'
import { trainPolicy } from '../../ts/policy/train-policy.js'
import type { Scorer } from '../../ts/policy/types.js'

const TOKENS = 12
const BETA = 0.6
const random = Random.from(4, 'arms')
const rewards = Array.from({ length: TOKENS }, () => random.normal())
/** Far from constant: that is where the two gradients part. */
const sigmas = Array.from({ length: TOKENS }, () => random.uniform(0.3, 2.5))
const weights = sigmas.map((sigma) => BETA * sigma)
const uniform = new Array<number>(TOKENS).fill(1 / TOKENS)

const normalised = (values: number[]) => values.map((value) => value / values.reduce((a, b) => a + b))
const objective = (policy: number[], reference: number[]) =>
  policy.reduce((sum, p, i) => sum + p * ((rewards[i] ?? 0) - (weights[i] ?? 0) * Math.log(p / (reference[i] ?? 0))), 0)

/** pi0 exp((R - c) / w) with c such that it sums to one; `shift` is 1 for the exact gradient, where c = -lambda. */
function fixedPoint(reference: number[], shift: number): number[] {
  const at = (c: number) => reference.map((p, i) => p * Math.exp(((rewards[i] ?? 0) - c) / (weights[i] ?? 1) - shift))
  let [low, high] = [-50, 50]
  for (let i = 0; i < 200; i += 1) {
    const middle = (low + high) / 2
    if (at(middle).reduce((a, b) => a + b) > 1) low = middle
    else high = middle
  }
  return normalised(at((low + high) / 2))
}
const printedForm = (reference: number[]) =>
  normalised(reference.map((p, i) => p * Math.exp((rewards[i] ?? 0) / (weights[i] ?? 1))))

/** Mirror ascent on the objective with a numerical gradient: knows no closed form. */
function numericalOptimum(reference: number[]): number[] {
  let policy = [...reference]
  for (let step = 0; step < 4000; step += 1) {
    const gradient = policy.map((p, i) => {
      const h = 1e-6 * p
      const moved = (sign: number) =>
        objective(
          policy.map((q, j) => (i === j ? q + sign * h : q)),
          reference,
        )
      return (moved(1) - moved(-1)) / (2 * h)
    })
    policy = normalised(policy.map((p, i) => p * Math.exp(0.05 * (gradient[i] ?? 0))))
  }
  return policy
}
const distance = (a: number[], b: number[]) => a.reduce((sum, p, i) => sum + Math.abs(p - (b[i] ?? 0)), 0) / 2

describe('closed forms', () => {
  const [exact, reward, printed] = [fixedPoint(uniform, 1), fixedPoint(uniform, 0), printedForm(uniform)]
  test('the exact form is the numerical optimum', () =>
    expect(distance(exact, numericalOptimum(uniform))).toBeLessThan(1e-3))
  test('KL inside the reward alone, and the theorem as printed, are not', () => {
    const best = objective(exact, uniform)
    expect(objective(reward, uniform)).toBeLessThan(best - 0.005)
    expect(objective(printed, uniform)).toBeLessThan(best - 0.005)
  })
  test('with a constant sigma all three are one', () => {
    const [kept, constant] = [[...weights], weights[0] as number]
    weights.fill(constant)
    expect(distance(fixedPoint(uniform, 1), printedForm(uniform))).toBeLessThan(1e-9)
    expect(distance(fixedPoint(uniform, 0), printedForm(uniform))).toBeLessThan(1e-9)
    kept.forEach((weight, i) => {
      weights[i] = weight
    })
  })
})

const ARCHITECTURE = {
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  vocab_size: TOKENS,
  n_embd: 16,
  n_layer: 1,
  n_head: 2,
  n_positions: 8,
  activation_function: 'gelu_new',
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  bos_token_id: null,
  eos_token_id: null,
}

/** Head 0 is the reward; heads 1 and 2 lie sigma apart (ddof 1: half the distance times the root of 2). */
const scorer: Scorer = {
  async score(_prompts, responses) {
    const values = responses.flatMap((response) => {
      const token = response[0] as number
      const offset = (sigmas[token] as number) / Math.SQRT2
      return [rewards[token] as number, offset, -offset]
    })
    return { values: Float32Array.from(values), heads: 3, texts: [] }
  },
}

async function trained(klGradient: 'reward' | 'exact'): Promise<{ policy: number[]; reference: number[] }> {
  const addon = loadAddon()
  const options = { task: 'causal-lm' as const, dtype: 'float32' as const, device: 'cpu', seed: 3 }
  const reference = await addon.createModel(JSON.stringify(ARCHITECTURE), options)
  const policy = await reference.clone()
  await policy.addValueHead(1)
  const prompts = Array.from({ length: 512 }, () => Int32Array.of(0))
  const settings = ppoSettings.parse({
    batchSize: 512,
    miniBatchSize: 512,
    steps: 120,
    optimiser: { lr: 4e-3 },
    schedule: { shape: 'linear' },
    kl: { initial: BETA },
    objective: { kind: 'variance-kl', klGradient },
    sampling: { maxNewTokens: 1, stopAtEos: false },
    whitenAdvantages: true,
    vfCoef: 0.1,
    seed: 5,
  })
  await trainPolicy({
    policy,
    reference,
    scorer,
    prompts: { ids: prompts, texts: prompts.map(() => '') },
    settings,
    eosTokenIds: [],
    head: 0,
    ensemble: [1, 2],
  })
  const distributionOf = async (model: typeof policy) => {
    const logits = await model.logits(packRows([Int32Array.of(0)]), { batchTokens: 64 })
    const largest = Math.max(...logits)
    return normalised(Array.from(logits, (value) => Math.exp(value - largest)))
  }
  const result = { policy: await distributionOf(policy), reference: await distributionOf(reference) }
  await policy.dispose()
  await reference.dispose()
  return result
}

describe('PPO settles where the theory says', () => {
  let results: Record<'reward' | 'exact', Awaited<ReturnType<typeof trained>>>
  beforeAll(async () => {
    results = { reward: await trained('reward'), exact: await trained('exact') }
  }, 120_000)

  test.each(['reward', 'exact'] as const)('klGradient: %s', (klGradient) => {
    const { policy, reference } = results[klGradient]
    const own = fixedPoint(reference, klGradient === 'exact' ? 1 : 0)
    const other = fixedPoint(reference, klGradient === 'exact' ? 0 : 1)
    expect(distance(policy, own)).toBeLessThan(0.06)
    expect(distance(policy, other)).toBeGreaterThan(2 * distance(policy, own))
  })

  test('the exact gradient reaches the higher objective', () => {
    const value = ({ policy, reference }: { policy: number[]; reference: number[] }) => objective(policy, reference)
    expect(value(results.exact)).toBeGreaterThan(value(results.reward))
  })
})
