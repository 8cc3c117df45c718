/** `prudent/policy`: PPO from TypeScript, with an objective and a scorer of one's own where wanted. */
import type { z } from 'zod'
import type { Policy } from '../addon/policy.js'
import type { RewardModel } from '../addon/reward-model.js'
import { Tokenizer } from '../data/tokenizer.js'
import { argumentError, PrudentError } from '../errors.js'
import type { ObjectiveInput } from './objectives.js'
import { modelScorer } from './scorer.js'
import { ppoSettings, sigmaSettings } from './settings.js'
import { disagreement } from './sigma.js'
import { trainPolicy as trainNativePolicy } from './train-policy.js'
import type { ModelScorerOptions, PromptSet, Scorer, TrainPolicyOptions, TrainPolicyResult } from './types.js'

export { createObjective, type Objective, type ObjectiveInput, type ObjectiveOutput } from './objectives.js'
export { rewardsOf } from './scorer.js'
export type { HeadScores, PromptSet, Scorer, TrainPolicyResult } from './types.js'
export { Tokenizer }

/** Settings of PPO as a configuration writes them: what is left out is classic TRL's. */
export type PpoOptions = z.input<typeof ppoSettings>

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
 * @throws E_CONFIG (settings), E_SHAPE, E_NON_FINITE and E_RANGE naming `objective` for what it gave, and all that training throws
 */
export async function trainPolicy(training: PolicyTraining): Promise<TrainPolicyResult> {
  const { policy, reference, settings = {}, eosTokenIds = policy.info.eosTokenIds, ...rest } = training
  if (policy.native === reference.native)
    throw argumentError('E_RANGE', 'reference', 'a model apart from the policy', 'the policy itself')
  const parsed = ppoSettings.safeParse(settings)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    const key = ['settings', ...(issue?.path ?? [])].join('.')
    throw new PrudentError('E_CONFIG', `${key}: ${issue?.message}`, { argument: key, cause: parsed.error })
  }
  if (!policy.info.hasValueHead) await policy.addValueHead(parsed.data.seed)
  const models = { policy: policy.native, reference: reference.native }
  return trainNativePolicy({ ...rest, ...models, settings: parsed.data, eosTokenIds })
}

/** Scores responses with a reward model and its uncertainty source. */
export function rewardScorer(
  options: Omit<ModelScorerOptions, 'model' | 'batchTokens'> & { model: RewardModel; batchTokens?: number },
): Scorer {
  const { model, batchTokens = 8192, ...rest } = options
  return modelScorer({ ...rest, model: model.native, batchTokens })
}

/** Prompts by the policy's tokenizer. */
export async function encodePrompts(tokenizer: Tokenizer, texts: readonly string[]): Promise<PromptSet> {
  return { ids: await tokenizer.encodeBatch(texts), texts }
}

/** sigma of every response as the configured objectives take it, [rows]; `settings` as `objective.sigma` of a configuration. */
export function sigmaOf(input: ObjectiveInput, settings: z.input<typeof sigmaSettings> = {}): Float64Array {
  return disagreement(input, sigmaSettings.parse(settings))
}
