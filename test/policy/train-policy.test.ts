import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { packRows } from '../../ts/data/batching.js'
import { evaluatePolicy } from '../../ts/policy/evaluate-policy.js'
import { ppoSettings, responseSampling } from '../../ts/policy/settings.js'
import { trainPolicy } from '../../ts/policy/train-policy.js'
import type { PromptSet, Scorer, TrainPolicyOptions } from '../../ts/policy/types.js'
import { TINY } from '../support/train-runs.js'

const VOCABULARY = 50
const HEADS = 4
const config = JSON.stringify({ ...TINY.gpt2, vocab_size: VOCABULARY, bos_token_id: 0, eos_token_id: 0 })
const prompts: PromptSet = {
  ids: Array.from({ length: 64 }, (_, row) =>
    Int32Array.from({ length: 2 + (row % 4) }, (_, at) => 1 + ((row * 7 + at * 3) % 49)),
  ),
  texts: Array.from({ length: 64 }, (_, row) => `prompt ${row}`),
}

/** Head h likes tokens by a sine of its own: heads agree on a part and differ on the rest. */
const scorer: Scorer = {
  async score(_prompts, responses) {
    const values = new Float32Array(responses.length * HEADS)
    responses.forEach((ids, row) => {
      for (let head = 0; head < HEADS; head++) {
        values[row * HEADS + head] =
          ids.reduce((sum, id) => sum + Math.sin(id) + 0.5 * Math.cos(id * (head + 2)), 0) / ids.length
      }
    })
    return { values, heads: HEADS, texts: [] }
  },
}

let reference: NativeModel
beforeAll(async () => {
  loadAddon().configureExecutor({ lanes: 2, threadsPerLane: 1 })
  reference = await loadAddon().createModel(config, { task: 'causal-lm', dtype: 'float32', device: 'cpu', seed: 1 })
})
afterAll(() => reference.dispose())

type Changes = Partial<Omit<TrainPolicyOptions, 'settings'>> & { settings?: object; steps?: number }

async function trained(changes: Changes) {
  const policy = await reference.clone()
  await policy.addValueHead(5)
  const { settings, steps = 5, ...rest } = changes
  const base = {
    batchSize: 16,
    miniBatchSize: 8,
    ppoEpochs: 2,
    steps,
    optimiser: { lr: 3e-3 },
    sampling: { maxNewTokens: 5 },
  }
  const parsed = ppoSettings.parse({ ...base, ...settings })
  try {
    const result = await trainPolicy({
      policy,
      reference,
      scorer,
      prompts,
      settings: parsed,
      eosTokenIds: [0],
      ...rest,
    })
    const probe = await policy.logprobs(packRows(prompts.ids), { batchTokens: 4096 })
    return { ...result, probe: Array.from(probe), metrics: result.metrics.map(withoutTimes) }
  } finally {
    await policy.dispose()
  }
}

function withoutTimes(metrics: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metrics).filter(([name]) => !name.startsWith('time/') && !name.startsWith('objective/sigma')),
  )
}

const kl = (initial: number) => ({ kl: { initial } })
const variance = (sigma: object) => ({ objective: { kind: 'variance-kl', sigma } })

describe('controls', () => {
  test('a constant sigma c trains the policy that vanilla trains at beta * c, to the bit', async () => {
    const vanilla = await trained({ settings: kl(0.3 * 1.7) })
    const constant = await trained({ settings: { ...kl(0.3), ...variance({ constant: 1.7 }) } })
    expect(constant.probe).toEqual(vanilla.probe)
    const withoutCoefficient = (metrics: Record<string, number>[]) =>
      metrics.map(({ 'objective/kl_coef': _, ...rest }) => rest)
    expect(withoutCoefficient(constant.metrics)).toEqual(withoutCoefficient(vanilla.metrics))
    const other = await trained({ settings: kl(0.3 * 1.71) })
    expect(other.probe).not.toEqual(vanilla.probe)
  })

  test('sigma matters, its shuffle matters, and both start from the same rollout', async () => {
    const [vanilla, weighted, shuffled] = [
      await trained({ settings: kl(0.5) }),
      await trained({ settings: { ...kl(0.5), ...variance({}) } }),
      await trained({ settings: { ...kl(0.5), ...variance({ shuffle: true }) } }),
    ]
    const first = [vanilla, weighted, shuffled].map((result) => result.metrics[0]?.['env/proxy_mean'])
    expect(new Set(first).size).toBe(1)
    expect(new Set([vanilla, weighted, shuffled].map((result) => String(result.probe))).size).toBe(3)
  })
})

test('heads and means that the scorer has not are named, columns of a spread among them', async () => {
  const spreading: Scorer = {
    async score(...given) {
      return { ...(await scorer.score(...given)), spread: [2, 3] }
    },
  }
  const run = (changes: Changes) => trained({ steps: 1, settings: variance({}), ...changes })
  await expect(run({ head: HEADS })).rejects.toMatchObject({ code: 'E_RANGE', argument: 'head' })
  await expect(run({ scorer: spreading, head: 2 })).rejects.toMatchObject({ code: 'E_RANGE', argument: 'head' })
  await expect(run({ scorer: spreading, ensemble: [0, 3] })).rejects.toMatchObject({ code: 'E_RANGE' })
  const centred = { settings: variance({ center: 'reference' }), scorer: spreading }
  const referenceMean = new Float32Array(2)
  await expect(run({ ...centred, referenceMean })).rejects.toMatchObject({ code: 'E_SHAPE', argument: 'referenceMean' })
  expect((await run({ ...centred, referenceMean: new Float32Array(HEADS) })).steps).toBe(1)
})

test('where old log-probs come from, whether a forward is shared, and whether prompts are, reach the trainer', async () => {
  const whole = { miniBatchSize: 16, optimiser: { lr: 1e-3 } }
  const run = (settings: object) => trained({ settings: { ...whole, ...settings }, steps: 2 })
  const firstError = (result: Awaited<ReturnType<typeof trained>>) =>
    result.metrics[0]?.['ppo/policy/first_ratio_error']
  const plain = await run({})
  expect(firstError(plain)).toBe(0)
  const apart = await run({ shareForward: false })
  expect(apart.metrics).toEqual(plain.metrics)
  const sampled = await run({ oldLogprobs: 'sampling' })
  expect(firstError(sampled)).toBeGreaterThan(0)
  expect(firstError(sampled)).toBeLessThan(1e-4)
  expect(ppoSettings.parse({})).toMatchObject({ oldLogprobs: 'forward', shareForward: true, sharePrefixes: true })
  await expect(run({ oldLogprobs: 'sampling', sampling: { minNewTokens: 1, maxNewTokens: 5 } })).rejects.toMatchObject({
    code: 'E_RANGE',
    argument: 'minNewTokens',
  })
})

test('prompts that begin alike are computed once unless sharePrefixes is off', async () => {
  const beginning = Array.from({ length: 12 }, (_, position) => (position * 7) % 50)
  const ids = prompts.ids.map((row) => Int32Array.from([...beginning, ...row]))
  const run = (sharePrefixes: boolean) =>
    trained({ prompts: { ...prompts, ids }, settings: { sharePrefixes }, steps: 1 })
  const [shared, apart] = [await run(true), await run(false)]
  const difference = Math.max(...shared.probe.map((value, i) => Math.abs(value - (apart.probe[i] as number))))
  expect(difference).toBeGreaterThan(0)
  expect(difference).toBeLessThan(1e-3)
})

test('many at once on one reference and one scorer give what each gives alone', async () => {
  const jobs = [0, 1, 2].map((head) => ({ head, settings: { ...kl(0.2), ...variance({}), seed: head } }))
  const alone: Awaited<ReturnType<typeof trained>>[] = []
  for (const job of jobs) alone.push(await trained(job))
  const together = await Promise.all(jobs.map(trained))
  expect(together.map((result) => result.probe)).toEqual(alone.map((result) => result.probe))
  expect(together.map((result) => result.metrics)).toEqual(alone.map((result) => result.metrics))
  expect(new Set(alone.map((result) => String(result.probe))).size).toBe(3)
})

test('the reward rises', async () => {
  const { metrics } = await trained({ steps: 25, settings: { ...kl(0.02), optimiser: { lr: 1e-2 } } })
  const mean = (part: Record<string, number>[]) =>
    part.reduce((sum, entry) => sum + (entry['env/reward_mean'] ?? 0), 0) / part.length
  expect(mean(metrics.slice(-5)) - mean(metrics.slice(0, 5))).toBeGreaterThan(0.1)
  expect(metrics.at(-1)?.['objective/kl'] ?? 0).toBeGreaterThan(0.1)
})

test('an objective of the user, and a head that does not exist', async () => {
  const beta = 0.4
  const same = await trained({
    objective: (input) => ({
      scores: Float32Array.from({ length: 16 }, (_, row) => input.scores[row * input.heads + input.proxy] as number),
      klWeights: new Float32Array(16).fill(input.beta),
      sigma: null,
    }),
    settings: kl(beta),
  })
  expect(same.probe).toEqual((await trained({ settings: kl(beta) })).probe)
  await expect(trained({ head: HEADS })).rejects.toMatchObject({ code: 'E_RANGE', argument: 'head' })
  await expect(trained({ settings: { batchSize: 65 } })).rejects.toMatchObject({ code: 'E_DATA' })
})

test('an abort ends it, and leaves shared models usable', async () => {
  const stop = new AbortController()
  const aborted = trained({ steps: 1000, signal: stop.signal, onStep: ({ step }) => step === 2 && stop.abort() })
  await expect(aborted).rejects.toMatchObject({ code: 'E_CANCELLED', name: 'AbortError' })
  expect((await trained({ steps: 1 })).steps).toBe(1)
})

test("centred sigma: reference means are measured once and sigma is smaller without the heads' offsets", async () => {
  const offset: Scorer = {
    async score(...input) {
      const scored = await scorer.score(...input)
      return { ...scored, values: scored.values.map((value, index) => value + 10 * (index % HEADS)) }
    },
  }
  const sigmaMean = async (center: string) => {
    const seen: number[] = []
    const policy = await reference.clone()
    await policy.addValueHead(5)
    const settings = ppoSettings.parse({
      batchSize: 16,
      steps: 2,
      sampling: { maxNewTokens: 5 },
      ...variance({ center }),
    })
    const { metrics } = await trainPolicy({ policy, reference, scorer: offset, prompts, settings, eosTokenIds: [0] })
    await policy.dispose()
    seen.push(...metrics.map((entry) => entry['objective/sigma_mean'] as number))
    return seen[0] as number
  }
  const [raw, centred, byPrompt] = [await sigmaMean('none'), await sigmaMean('reference'), await sigmaMean('prompt')]
  expect(raw).toBeGreaterThan(12)
  expect(centred).toBeLessThan(2)
  expect(byPrompt).toBeLessThan(2)
})

describe('evaluation', () => {
  const options = () => ({
    reference,
    prompts: prompts.ids,
    sampling: responseSampling.parse({ maxNewTokens: 5 }),
    eosTokenIds: [0],
    batchTokens: 4096,
  })

  test('the reference has no KL to itself; samples are seeded', async () => {
    const twin = await reference.clone()
    const first = await evaluatePolicy({ ...options(), policy: twin, seed: 3 })
    const again = await evaluatePolicy({ ...options(), policy: twin, seed: 3 })
    const other = await evaluatePolicy({ ...options(), policy: twin, seed: 4 })
    expect(Math.abs(first.meanKl)).toBeLessThan(1e-6)
    expect(again.responses).toEqual(first.responses)
    expect(other.responses).not.toEqual(first.responses)
    expect(first.responses.length).toBe(64)
    await twin.dispose()
  })

  test('exact KL agrees with the sampled estimate of another model', async () => {
    // Weights large enough for the two to differ by far more than the noise of 64 samples.
    const sharp = config.replace('"initializer_range":0.02', '"initializer_range":0.4')
    const policy = await loadAddon().createModel(sharp, { task: 'causal-lm', dtype: 'float32', device: 'cpu', seed: 2 })
    const evaluation = await evaluatePolicy({ ...options(), policy, seed: 1 })
    expect(evaluation.meanKl).toBeGreaterThan(1)
    const rows = packRows(
      prompts.ids.map((ids, row) => Int32Array.from([...ids, ...(evaluation.responses[row] as Int32Array)])),
    )
    const [mine, theirs] = [
      await policy.logprobs(rows, { batchTokens: 4096 }),
      await reference.logprobs(rows, { batchTokens: 4096 }),
    ]
    // Tokens of the prompt do not count.
    let sampled = 0
    let at = 0
    for (const [row, length] of rows.lengths.entries()) {
      for (let token = 1; token < length; token++, at++) {
        if (token >= (prompts.ids[row] as Int32Array).length) sampled += (mine[at] as number) - (theirs[at] as number)
      }
    }
    expect(evaluation.exactKl.every((value) => value >= 0)).toBe(true)
    expect(Math.abs(sampled / 64 / evaluation.meanKl - 1)).toBeLessThan(0.2)
    await policy.dispose()
  })
})
