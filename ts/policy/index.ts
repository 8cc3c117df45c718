/** `prudent/policy`: PPO from TypeScript, with an objective and a scorer of one's own where wanted. */
import type { z } from 'zod'
import { checkCallOptions } from '../addon/call.js'
import type { NativeModel } from '../addon/native.js'
import type { Policy } from '../addon/policy.js'
import type { RewardModel } from '../addon/reward-model.js'
import { checkList, describe } from '../addon/rows.js'
import { parseOptions } from '../config/issues.js'
import { Tokenizer } from '../data/tokenizer.js'
import { argumentError } from '../errors.js'
import type { ObjectiveInput } from './objectives.js'
import { modelScorer } from './scorer.js'
import { ppoSettings, sigmaSettings } from './settings.js'
import { disagreement } from './sigma.js'
import { trainPolicy as trainNativePolicy } from './train-policy.js'
import type { ModelScorerOptions, PromptSet, Scorer, TrainPolicyOptions, TrainPolicyResult } from './types.js'

export type { StepMetrics } from '../training/types.js'
export { createObjective, type Objective, type ObjectiveInput, type ObjectiveOutput } from './objectives.js'
export { rewardsOf } from './scorer.js'
export type { HeadScores, ModelScorerOptions, PromptSet, Scorer, ScorerMember, TrainPolicyResult } from './types.js'
export { Tokenizer }

/** Settings of PPO as a configuration writes them: what is left out is classic TRL's. */
export type PpoOptions = z.input<typeof ppoSettings>

/** What `trainPolicy` needs: a policy, its reference, who scores, and the prompts. */
export interface PolicyTraining extends Omit<TrainPolicyOptions, 'policy' | 'reference' | 'settings' | 'eosTokenIds'> {
  /** Trained in place; gets a value head where it has none. */
  policy: Policy
  /** Frozen; not the policy itself. */
  reference: Policy
  settings?: PpoOptions
  /** Default: the policy's own. */
  eosTokenIds?: readonly number[]
}

/**
 * PPO as `prudent train policy` runs it. `objective` takes any function from scores to rewards and KL weights.
 * @throws E_CONFIG (settings), E_TYPE, E_SHAPE, E_NON_FINITE and E_RANGE naming `objective` for what it gave, and all that training throws
 *
 * @example
 * ```ts
 * import { Policy, RewardModel } from 'prudent'
 * import { encodePrompts, rewardScorer, Tokenizer, trainPolicy } from 'prudent/policy'
 *
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using reference = await policy.clone()
 * await using model = await RewardModel.load('reward-model')
 * const [policyTokenizer, scorerTokenizer] = [await Tokenizer.load('policy'), await Tokenizer.load('reward-model')]
 * const { steps, metrics } = await trainPolicy({
 *   policy,
 *   reference,
 *   scorer: rewardScorer({ model, policyTokenizer, scorerTokenizer, maxLength: 80 }),
 *   prompts: await encodePrompts(policyTokenizer, ['the', 'a good']),
 *   settings: {
 *     ...{ batchSize: 2, miniBatchSize: 2, steps: 2, kl: { initial: 0.1 }, sampling: { maxNewTokens: 4 } },
 *     objective: { kind: 'variance-kl' },
 *   },
 * })
 * console.log(steps, metrics[1]['objective/sigma_mean'] > 0) // 2 true
 * ```
 */
export async function trainPolicy(training: PolicyTraining): Promise<TrainPolicyResult> {
  const { policy, reference, settings = {}, ...others } = training ?? {}
  const models = { policy: nativeOf(policy, 'policy'), reference: nativeOf(reference, 'reference') }
  const { eosTokenIds = policy.info.eosTokenIds, ...rest } = others
  checkCallOptions(rest)
  checkList(eosTokenIds, 'eosTokenIds', 'token ids')
  for (const name of ['objective', 'onStep', 'onWarning'] as const)
    if (rest[name] !== undefined && typeof rest[name] !== 'function')
      throw argumentError('E_TYPE', name, 'a function', describe(rest[name]))
  if (typeof rest.scorer?.score !== 'function')
    throw argumentError('E_TYPE', 'scorer', 'a scorer', describe(rest.scorer))
  if (!Array.isArray(rest.prompts?.ids) || !Array.isArray(rest.prompts.texts))
    throw argumentError('E_TYPE', 'prompts', '{ ids, texts }', describe(rest.prompts))
  if (models.policy === models.reference)
    throw argumentError('E_RANGE', 'reference', 'a model apart from the policy', 'the policy itself')
  const parsed = parseOptions(ppoSettings, settings, 'settings')
  if (!policy.info.hasValueHead) await policy.addValueHead(parsed.seed)
  return trainNativePolicy({ ...rest, ...models, settings: parsed, eosTokenIds })
}

/**
 * Scores responses with a reward model and its uncertainty source.
 *
 * @example
 * ```ts
 * import { RewardModel } from 'prudent'
 * import { rewardScorer, Tokenizer } from 'prudent/policy'
 *
 * await using model = await RewardModel.load('reward-model')
 * const [policyTokenizer, scorerTokenizer] = [await Tokenizer.load('policy'), await Tokenizer.load('reward-model')]
 * const scorer = rewardScorer({ model, policyTokenizer, scorerTokenizer, maxLength: 80 })
 * const responses = await policyTokenizer.encodeBatch(['good', 'bad'], { addSpecialTokens: false })
 * const { values, heads } = await scorer.score(['the', 'the'], responses)
 * console.log(values.length === 2 * heads) // true
 * ```
 */
export function rewardScorer(
  options: Omit<ModelScorerOptions, 'model' | 'batchTokens'> & { model: RewardModel; batchTokens?: number },
): Scorer {
  const { model, batchTokens = 8192, ...rest } = options ?? {}
  for (const name of ['policyTokenizer', 'scorerTokenizer'] as const) checkTokenizer(rest[name], name)
  if (!Number.isInteger(rest.maxLength) || rest.maxLength < 1)
    throw argumentError('E_RANGE', 'maxLength', 'an integer >= 1', describe(rest.maxLength))
  return modelScorer({ ...rest, model: nativeOf(model, 'model'), batchTokens })
}

function nativeOf(model: Policy | RewardModel, argument: string): NativeModel {
  if (typeof model?.native?.info === 'function') return model.native
  throw argumentError('E_TYPE', argument, 'a model', describe(model))
}

function checkTokenizer(tokenizer: Tokenizer, argument: string): void {
  if (typeof tokenizer?.encodeBatch !== 'function')
    throw argumentError('E_TYPE', argument, 'a Tokenizer', describe(tokenizer))
}

/**
 * Prompts by the policy's tokenizer.
 *
 * @example
 * ```ts
 * import { encodePrompts, Tokenizer } from 'prudent/policy'
 *
 * const { ids, texts } = await encodePrompts(await Tokenizer.load('policy'), ['the', 'a good'])
 * console.log(ids.length, texts[1]) // 2 a good
 * ```
 */
export async function encodePrompts(tokenizer: Tokenizer, texts: readonly string[]): Promise<PromptSet> {
  checkTokenizer(tokenizer, 'tokenizer')
  return { ids: await tokenizer.encodeBatch(texts), texts }
}

/**
 * sigma of every response as the configured objectives take it, [rows]; `settings` as `objective.sigma` of a configuration.
 * @throws E_CONFIG (settings), E_TYPE, E_RANGE when there are too few heads
 *
 * @example
 * ```ts
 * import { Policy, RewardModel } from 'prudent'
 * import { encodePrompts, type Objective, rewardScorer, sigmaOf, Tokenizer, trainPolicy } from 'prudent/policy'
 *
 * // The first head's reward, and no KL penalty where the heads agree within 0.1.
 * const trusting: Objective = (input) => {
 *   const sigma = Float32Array.from(sigmaOf(input, { power: 'std' }))
 *   const scores = sigma.map((_, row) => input.scores[row * input.heads + input.proxy])
 *   return { scores, klWeights: sigma.map((value) => (value < 0.1 ? 0 : input.beta * value)), sigma }
 * }
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using reference = await policy.clone()
 * await using model = await RewardModel.load('reward-model')
 * const [policyTokenizer, scorerTokenizer] = [await Tokenizer.load('policy'), await Tokenizer.load('reward-model')]
 * const { steps } = await trainPolicy({
 *   ...{ policy, reference, objective: trusting },
 *   scorer: rewardScorer({ model, policyTokenizer, scorerTokenizer, maxLength: 80 }),
 *   prompts: await encodePrompts(policyTokenizer, ['the', 'a good']),
 *   settings: { batchSize: 2, miniBatchSize: 2, steps: 1, sampling: { maxNewTokens: 4 } },
 * })
 * console.log(steps) // 1
 * ```
 */
export function sigmaOf(input: ObjectiveInput, settings: z.input<typeof sigmaSettings> = {}): Float64Array {
  return disagreement(input, parseOptions(sigmaSettings, settings, 'settings'))
}
