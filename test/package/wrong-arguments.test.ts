/** What JavaScript lets through to the public names: nothing at all, or something else. Each is an error with a code, and a promise rejects. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fastify from 'fastify'
import * as prudent from '../../ts/index.js'
import * as policies from '../../ts/policy/index.js'
import plugin, { ScoringService } from '../../ts/serve/fastify.js'

const FILES = join('test', 'cli', 'files')
const ENSEMBLE = join(FILES, 'gemma-ensemble')
const ids = [
  [2, 11, 12],
  [2, 11, 13],
]

// biome-ignore lint/suspicious/noExplicitAny: wrong types are what is tested
type Anything = any
type Call = (made: Anything, wrong: Anything) => unknown

let made: Anything
beforeAll(async () => {
  const model = await prudent.RewardModel.load(ENSEMBLE, { dtype: 'float32' })
  const policy = await prudent.Policy.load(join(FILES, 'gemma-policy'), { dtype: 'float32' })
  const reference = await policy.clone()
  await policy.addValueHead()
  const features = await model.features({ ids })
  const ppo = await prudent.PpoTrainer.create(policy, reference, { miniBatchSize: 2 })
  const heads = await prudent.HeadsTrainer.create(features, { heads: 1, initial: new Float32Array(features.hidden) })
  made = {
    ...{ model, policy, reference, features, ppo, heads },
    rollout: await ppo.rollout({ ids, maxNewTokens: 2 }),
    tokenizer: await prudent.Tokenizer.load(ENSEMBLE),
    reward: await prudent.RewardTrainer.create(model),
    language: await prudent.LanguageModelTrainer.create(reference),
    batcher: new prudent.ScoreBatcher(model),
    service: await ScoringService.load(ENSEMBLE),
  }
})
afterAll(async () => {
  const { tokenizer: _none, ...handles } = made
  for (const handle of Object.values<Anything>(handles).reverse()) await handle.dispose()
})

/** The code and argument of the error that a call ends in, and whether it came at once. */
async function failure(call: () => unknown) {
  let result: unknown
  try {
    result = call()
  } catch (error) {
    return { ...partsOf(error), thrown: true }
  }
  const error = await Promise.resolve(result).then(
    () => 'none',
    (reason) => reason,
  )
  return { ...partsOf(error), thrown: false }
}

function partsOf(error: unknown) {
  if (!(error instanceof prudent.PrudentError)) return { code: String(error), argument: null }
  return { code: error.code, argument: error.argument }
}

const { RewardModel, Policy, Tokenizer, FeatureCache, RewardTrainer, LanguageModelTrainer, HeadsTrainer, PpoTrainer } =
  prudent
const wrongs = [undefined, null, 5, {}]

describe.each<[string, Call, string]>([
  ['RewardModel.load', (_, wrong) => RewardModel.load(wrong), 'folder'],
  ['Policy.load', (_, wrong) => Policy.load(wrong), 'folder'],
  ['Tokenizer.load', (_, wrong) => Tokenizer.load(wrong), 'folder'],
  ['FeatureCache.load', (_, wrong) => FeatureCache.load(wrong), 'file'],
  ['ScoringService.load', (_, wrong) => ScoringService.load(wrong), 'model'],
  ['model.score', ({ model }, wrong) => model.score(wrong), 'ids'],
  ['model.computedTokens', ({ model }, wrong) => model.computedTokens(wrong), 'ids'],
  ['model.features', ({ model }, wrong) => model.features(wrong), 'ids'],
  ['model.setPrefix', ({ model }, wrong) => model.setPrefix(wrong), 'ids[0]'],
  ['policy.generate', ({ policy }, wrong) => policy.generate(wrong), 'ids'],
  ['policy.logprobs', ({ policy }, wrong) => policy.logprobs(wrong), 'ids'],
  ['policy.exactKl', ({ policy, reference }, wrong) => policy.exactKl(reference, wrong), 'ids'],
  [
    'exactKl’s lengths',
    ({ policy, reference }, wrong) => policy.exactKl(reference, { ids, promptLengths: wrong }),
    'promptLengths',
  ],
  ['exactKl’s reference', ({ policy }, wrong) => policy.exactKl(wrong, { ids, promptLengths: [1, 1] }), 'reference'],
  ['encodeBatch', ({ tokenizer }, wrong) => tokenizer.encodeBatch(wrong), 'texts'],
  ['encode', ({ tokenizer }, wrong) => tokenizer.encode(wrong), 'texts[0]'],
  ['decodeBatch', ({ tokenizer }, wrong) => tokenizer.decodeBatch(wrong), 'rows'],
  ['decode', ({ tokenizer }, wrong) => tokenizer.decode(wrong), 'rows[0]'],
  ['RewardTrainer.create', (_, wrong) => RewardTrainer.create(wrong), 'model'],
  ['LanguageModelTrainer.create', (_, wrong) => LanguageModelTrainer.create(wrong), 'model'],
  [
    'HeadsTrainer.create',
    (_, wrong) => HeadsTrainer.create(wrong, { heads: 1, initial: new Float32Array(1) }),
    'features',
  ],
  ['PpoTrainer.create', ({ policy }, wrong) => PpoTrainer.create(policy, wrong), 'reference'],
  ['reward.step', ({ reward }, wrong) => reward.step(wrong, { lr: 1 }), 'chosen'],
  ['language.step', ({ language }, wrong) => language.step(wrong, { lr: 1 }), 'ids'],
  ['ppo.rollout', ({ ppo }, wrong) => ppo.rollout(wrong), 'ids'],
  ['ppo.step', ({ ppo }, wrong) => ppo.step(wrong, {}, { lr: 1 }), 'rollout'],
  ['batcher.score', ({ batcher }, wrong) => batcher.score(wrong), 'ids'],
  ['service.score', ({ service }, wrong) => service.score(wrong), 'items'],
  ['encodePrompts', ({ tokenizer }, wrong) => policies.encodePrompts(tokenizer, wrong), 'texts'],
  ['encodePrompts’ tokenizer', (_, wrong) => policies.encodePrompts(wrong, ['a']), 'tokenizer'],
  ['trainPolicy', (_, wrong) => policies.trainPolicy(wrong), 'policy'],
])('%s', (_name, call, argument) => {
  test.each(wrongs)('of %j rejects, E_TYPE', async (wrong) => {
    expect(await failure(() => call(made, wrong))).toEqual({ code: 'E_TYPE', argument, thrown: false })
  })
})

const RATE = 'options.lr'
test.each<[string, Call, string]>([
  ['reward.step', ({ reward }, wrong) => reward.step({ chosen: [[2]], rejected: [[3]] }, wrong), RATE],
  ['language.step', ({ language }, wrong) => language.step({ ids }, wrong), RATE],
  [
    'heads.step',
    ({ heads }, wrong) => heads.step({ chosen: Int32Array.of(0), rejected: Int32Array.of(1) }, wrong),
    RATE,
  ],
  [
    'ppo.step',
    ({ ppo, rollout }, wrong) =>
      ppo.step(rollout, { scores: new Float32Array(2), klWeights: new Float32Array(2), seed: 0 }, wrong),
    RATE,
  ],
])('%s without options rejects, E_TYPE', async (_name, call, argument) => {
  for (const wrong of wrongs)
    expect(await failure(() => call(made, wrong))).toEqual({ code: 'E_TYPE', argument, thrown: false })
})

test('heads.step of nothing rejects, E_DTYPE', async () => {
  for (const wrong of wrongs)
    expect(await failure(() => made.heads.step(wrong, { lr: 1 }))).toMatchObject({ code: 'E_DTYPE', thrown: false })
})

describe('options', () => {
  const calls: [string, Call][] = [
    ['RewardModel.load', (_, options) => RewardModel.load(ENSEMBLE, options)],
    ['ScoringService.load', (_, options) => ScoringService.load(ENSEMBLE, options)],
    ['model.score', ({ model }, options) => model.score({ ids }, options)],
    ['policy.generate', ({ policy }, options) => policy.generate({ ids, maxNewTokens: 1 }, options)],
    ['batcher.score', ({ batcher }, options) => batcher.score({ ids }, options)],
    ['service.score', ({ service }, options) => service.score([{ text: 'a' }], options)],
  ]
  test.each(calls)('of %s: a signal that is none is E_TYPE', async (_name, call) => {
    for (const signal of [{}, 5, 'x'])
      expect(await failure(() => call(made, { signal }))).toEqual({ code: 'E_TYPE', argument: 'signal', thrown: false })
  })

  test.each(calls)('of %s: null is none', async (_name, call) => {
    const result = (await call(made, null)) as Partial<prudent.Policy>
    await result.dispose?.()
  })

  test('progress that cannot be called is E_TYPE', async () => {
    const failed = await failure(() => made.model.score({ ids }, { onProgress: 5 }))
    expect(failed).toEqual({ code: 'E_TYPE', argument: 'onProgress', thrown: false })
  })

  test('that are undefined count as left out', async () => {
    const sampling = { temperature: undefined, topK: undefined, seed: undefined, eosTokenIds: undefined }
    expect(await made.policy.generate({ ids, maxNewTokens: 2, ...sampling })).toEqual(
      await made.policy.generate({ ids, maxNewTokens: 2 }),
    )
    const trainer = await PpoTrainer.create(made.policy, made.reference, { gamma: undefined } as object)
    await trainer.dispose()
  })

  test.each<[string, object, string, string]>([
    ['maxLength', { maxLength: Number.NaN }, 'E_RANGE', 'maxLength'],
    ['maxLength', { maxLength: '2' }, 'E_RANGE', 'maxLength'],
    ['truncate', { maxLength: 2, truncate: 'middle' }, 'E_RANGE', 'truncate'],
    ['addSpecialTokens', { addSpecialTokens: 'no' }, 'E_TYPE', 'addSpecialTokens'],
  ])('of encode: %s as in %j', async (_name, options, code, argument) => {
    expect(await failure(() => made.tokenizer.encode('a good answer', options))).toMatchObject({ code, argument })
  })
})

test('what a handle says of itself once it is disposed of is E_DISPOSED', async () => {
  const model = await made.model.clone()
  const features = await model.features({ ids })
  const batcher = new prudent.ScoreBatcher(model)
  await Promise.all([features.dispose(), model.dispose()])
  for (const call of [() => model.info, () => model.heads, () => features.rows, () => batcher.score({ ids })])
    expect(await failure(call)).toMatchObject({ code: 'E_DISPOSED' })
})

test('an error that progress throws when all is done is what the call rejects with', async () => {
  const onProgress = () => {
    throw new RangeError('meant')
  }
  await expect(made.model.score({ ids: [[2]] }, { onProgress })).rejects.toThrow('meant')
})

test('messages that are none', async () => {
  expect(await failure(() => made.tokenizer.chatTemplate.render())).toMatchObject({
    code: 'E_TYPE',
    argument: 'messages',
  })
})

test.each([[undefined], [null], [{}]])('a plugin whose service is %j does not start', async (service) => {
  const app = fastify()
  void app.register(plugin as Anything, { service })
  await expect(app.ready()).rejects.toMatchObject({ code: 'E_TYPE', argument: 'service' })
})

describe('trainPolicy', () => {
  const score = async (_prompts: unknown, responses: readonly Int32Array[]) => ({
    ...{ values: Float32Array.from(responses, (response) => response.length), heads: 1, texts: [] },
  })
  test.each<[Anything, string]>([
    [{ prompts: { ids: 5 } }, 'prompts'],
    [{ scorer: {} }, 'scorer'],
    [{ scorer: { score: async () => undefined } }, 'scorer'],
    [{ scorer: { score: async () => ({ values: [1, 2], heads: 1 }) } }, 'scorer'],
    [{ objective: 'mean' }, 'objective'],
    [{ eosTokenIds: 5 }, 'eosTokenIds'],
    [{ onStep: 5 }, 'onStep'],
  ])('of %j rejects, E_TYPE', async (change, argument) => {
    const policy = await made.policy.clone()
    const settings = { batchSize: 2, miniBatchSize: 2, steps: 1, sampling: { maxNewTokens: 2 } }
    const prompts = { ids: ids.map((row) => Int32Array.from(row)), texts: ['a', 'b'] }
    const training = { policy, reference: made.reference, scorer: { score }, prompts, settings, ...change }
    expect(await failure(() => policies.trainPolicy(training))).toEqual({ code: 'E_TYPE', argument, thrown: false })
    await policy.dispose()
  })
})

test('what is no token has no id, and the other way round', () => {
  for (const wrong of [undefined, null, -1, 1.5, 2 ** 40, 'x'])
    expect([made.tokenizer.idToToken(wrong), made.tokenizer.tokenToId(wrong)]).toContain(null)
})

test('prompt lengths are whole numbers', async () => {
  const failed = failure(() => made.policy.exactKl(made.reference, { ids, promptLengths: [1.5, 1] }))
  expect(await failed).toMatchObject({ code: 'E_RANGE', argument: 'promptLengths[0]' })
})

test.each<[object | null | number, string]>([
  [null, 'E_TYPE'],
  [5, 'E_TYPE'],
  [{}, 'E_TYPE'],
  [{ text: 5 }, 'E_TYPE'],
  [{ ids: 5 }, 'E_TYPE'],
  [{ prompt: 5, response: 'a' }, 'E_TYPE'],
  [{ prompt: 'a' }, 'E_TYPE'],
  [{ messages: 5 }, 'E_DATA'],
  [{ messages: [] }, 'E_DATA'],
  [{ messages: [{ role: 'user' }] }, 'E_DATA'],
])('an item of a service that is %j is named', async (item, code) => {
  const error = await made.service.score([{ text: 'a' }, item]).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'PrudentError', code, message: expect.stringMatching(/^item 1/) })
})

describe('objectives', () => {
  const input = {
    scores: Float32Array.of(1, 3),
    heads: 2,
    proxy: 0,
    ensemble: [0, 1],
    beta: 0.5,
    centers: null,
  } as Anything

  test('take the defaults of a configuration', () => {
    const { klWeights } = policies.createObjective({ kind: 'variance-kl' })(input)
    expect(klWeights[0]).toBeCloseTo(0.5 * Math.SQRT2)
  })

  test.each<[string, () => unknown, string, string]>([
    ['no objective', () => policies.createObjective(null as Anything), 'E_CONFIG', 'objective'],
    ['a wrong kind', () => policies.createObjective({ kind: 'nope' } as Anything), 'E_CONFIG', 'objective.kind'],
    ['lcb without k', () => policies.createObjective({ kind: 'lcb' } as Anything), 'E_CONFIG', 'objective.k'],
    ['a wrong power', () => policies.sigmaOf(input, { power: 'x' } as Anything), 'E_CONFIG', 'settings.power'],
    ['an unknown key', () => policies.sigmaOf(input, { pwer: 'std' } as Anything), 'E_CONFIG', 'settings.pwer'],
    ['no input', () => policies.sigmaOf(undefined as Anything), 'E_TYPE', 'input.scores'],
    ['no scores', () => policies.rewardsOf(undefined as Anything), 'E_TYPE', 'values'],
    ['no scorer', () => policies.rewardScorer(undefined as Anything), 'E_TYPE', 'policyTokenizer'],
    ['no batcher', () => new prudent.ScoreBatcher(undefined as Anything), 'E_TYPE', 'model'],
  ])('%s', async (_name, call, code, argument) => {
    expect(await failure(call)).toEqual({ code, argument, thrown: true })
  })
})
