/** One policy of the study: trained against one reward head, then judged on fresh responses. */
import type { NativeModel } from '../addon/native.js'
import { mean } from '../evaluation/describe.js'
import { headOf, scoreMatrix } from '../evaluation/score-matrix.js'
import { evaluatePolicy } from '../policy/evaluate-policy.js'
import type { ObjectiveSettings } from '../policy/settings.js'
import { objectiveSettings } from '../policy/settings.js'
import { trainPolicy } from '../policy/train-policy.js'
import type { PromptSet, Scorer, TrainPolicyResult } from '../policy/types.js'
import type { StudyConfig } from './config.js'
import type { StudyInputs } from './inputs.js'
import type { MeanWeights } from './measure.js'
import { type Arm, powerOf, weighsKl } from './plan.js'
import type { HeadStatistics } from './reference.js'

export interface RecipeScorer {
  scorer: Scorer
  /** Over reference responses to training prompts: what sigma is centred on and the proxy measured in. */
  statistics: HeadStatistics
  /** Mean weight of each ensemble over reference responses. */
  meanWeight: MeanWeights
}

export interface PolicyContext {
  config: StudyConfig
  inputs: StudyInputs
  reference: NativeModel
  eosTokenIds: readonly number[]
  recipes: Record<string, RecipeScorer>
  judge: Scorer
  signal: AbortSignal
}

export interface TrainedHead {
  arm: Arm
  beta: number
  seed: number
  /** Number of the reward head in the recipe's model, of its ensemble, and all heads of that. */
  head: number
  ensembleIndex: number
  ensemble: readonly number[]
}

/** One value a PPO step; the proxy reward in standard deviations of the reference, from its mean. */
export interface PolicyCurves {
  kl: number[]
  proxy: number[]
}

export interface EvaluatedPolicy {
  finalKl: number
  proxyGain: number
  truth: number
  judge: number
  curves: PolicyCurves
}

/** @param meanWeight what sigma (or sigma^2) is on average: the constant control */
export function objectiveOf(arm: Arm, config: StudyConfig, meanWeight: number): ObjectiveSettings {
  const { klGradient, lcbK, varianceLambda } = config.objective
  const power = powerOf(arm.method, config)
  const center = arm.center ?? 'none'
  const sigma = { power, center }
  switch (arm.method) {
    case 'vanilla':
      return objectiveSettings.parse({ kind: 'vanilla', klGradient })
    case 'mean':
    case 'worst':
      return objectiveSettings.parse({ kind: arm.method, klGradient })
    case 'mean-variance':
      return objectiveSettings.parse({ kind: 'mean-variance', lambda: varianceLambda, sigma, klGradient })
    case 'lcb':
      return objectiveSettings.parse({ kind: 'lcb', k: lcbK, sigma, klGradient })
    case 'sigma':
    case 'sigma-variance':
      return objectiveSettings.parse({ kind: 'variance-kl', sigma, klGradient })
    case 'sigma-exact':
      return objectiveSettings.parse({ kind: 'variance-kl', sigma, klGradient: 'exact' })
    case 'shuffled':
      return objectiveSettings.parse({ kind: 'variance-kl', sigma: { ...sigma, shuffle: true }, klGradient })
    case 'constant':
      return objectiveSettings.parse({
        kind: 'variance-kl',
        sigma: { ...sigma, constant: power === 'variance' ? Math.sqrt(meanWeight) : meanWeight },
        klGradient,
      })
  }
}

/** Methods that weight KL by sigma count beta in the ensemble's mean weight, unless one beta is asked for. */
function unitOfBeta(arm: Arm, config: StudyConfig, meanWeight: number): number {
  return config.objective.sigmaUnit === 'ensemble' && weighsKl(arm.method) ? meanWeight : 1
}

/** Trains a policy and hands it to `use`; it is gone afterwards. */
async function withTrainedPolicy<T>(
  context: PolicyContext,
  unit: TrainedHead,
  use: (policy: NativeModel, training: TrainPolicyResult) => Promise<T>,
): Promise<T> {
  const { config, inputs, reference } = context
  const recipe = recipeOf(context, unit.arm)
  const meanWeight = recipe.meanWeight[powerOf(unit.arm.method, config)][unit.arm.center ?? 'none'][
    unit.ensembleIndex
  ] as number
  const policy = await reference.clone()
  try {
    await policy.addValueHead(unit.seed)
    const training = await trainPolicy({
      policy,
      reference,
      scorer: recipe.scorer,
      prompts: inputs.prompts.training,
      settings: {
        ...config.ppo,
        kl: { ...config.ppo.kl, initial: unit.beta / unitOfBeta(unit.arm, config, meanWeight) },
        objective: objectiveOf(unit.arm, config, meanWeight),
        seed: unit.seed,
      },
      eosTokenIds: context.eosTokenIds,
      head: unit.head,
      ensemble: unit.ensemble,
      referenceMean: Float32Array.from(recipe.statistics.mean),
      signal: context.signal,
    })
    return await use(policy, training)
  } finally {
    await policy.dispose()
  }
}

function recipeOf(context: PolicyContext, arm: Arm): RecipeScorer {
  return context.recipes[arm.recipe] as RecipeScorer
}

function draw(context: PolicyContext, policy: NativeModel, prompts: PromptSet, seed: number) {
  return evaluatePolicy({
    policy,
    reference: context.reference,
    prompts: prompts.ids,
    sampling: context.config.ppo.sampling,
    eosTokenIds: context.eosTokenIds,
    seed,
    batchTokens: context.config.evaluation.batchTokens,
    tokenizer: context.inputs.tokenizers.policy,
    signal: context.signal,
  })
}

/** Mean exact KL of the final policy over fresh responses. */
export async function finalKlOf(context: PolicyContext, unit: TrainedHead, prompts: PromptSet): Promise<number> {
  return withTrainedPolicy(context, unit, async (policy) => (await draw(context, policy, prompts, unit.seed)).meanKl)
}

export async function runPolicy(
  context: PolicyContext,
  unit: TrainedHead,
  prompts: PromptSet,
): Promise<EvaluatedPolicy> {
  const { scorer, statistics } = recipeOf(context, unit.arm)
  const [offset, scale] = [statistics.mean[unit.head] as number, statistics.std[unit.head] as number]
  return withTrainedPolicy(context, unit, async (policy, training) => {
    const fresh = await draw(context, policy, prompts, unit.seed)
    const scores = await scorer.score(prompts.texts, fresh.responses, context.signal)
    const judged = await context.judge.score(prompts.texts, fresh.responses, context.signal)
    const proxy = mean(headOf(scoreMatrix(scores.values, scores.heads), unit.head))
    return {
      finalKl: fresh.meanKl,
      proxyGain: (proxy - offset) / scale,
      truth: mean(fresh.texts.map((text) => context.inputs.truth.reward(text))),
      judge: mean(judged.values),
      curves: {
        kl: training.metrics.map((metrics) => metrics['objective/kl'] ?? Number.NaN),
        proxy: training.metrics.map((metrics) => ((metrics['env/proxy_mean'] ?? Number.NaN) - offset) / scale),
      },
    }
  })
}
