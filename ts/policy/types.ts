import type { NativeModel, NativeProcessGroup, TokenRows } from '../addon/native.js'
import type { ScoreBatcher } from '../addon/score-batcher.js'
import type { Tokenizer } from '../data/tokenizer.js'
import type { StepMetrics, TrainingContext } from '../training/types.js'
import type { Objective } from './objectives.js'
import type { PpoSettings, ResponseSampling } from './settings.js'

/** Prompts of a policy: ids by its own tokenizer, and the text that those ids stand for. */
export interface PromptSet {
  ids: readonly Int32Array[]
  texts: readonly string[]
}

/** Scores of responses by every head. */
export interface HeadScores {
  /** [rows, heads], row-major. */
  values: Float32Array
  /** Columns of `values`, those of `spread` included. */
  heads: number
  /** Columns whose sum of squares is the variance of a response (a Laplace factor's, say), which are no rewards; absent: sigma is taken over heads. */
  spread?: readonly number[]
  /** What the scorer read; empty where it read tokens. */
  texts: string[]
}

/** Rewards responses; may be shared by any number of policies. */
export interface Scorer {
  /** Scores of every response [rows, heads], in order; `prompts` are texts, `responses` ids of the policy's tokenizer. */
  score(prompts: readonly string[], responses: readonly Int32Array[], signal?: AbortSignal): Promise<HeadScores>
  /** For a caller that asks again and again until it leaves: a scorer that batches its callers waits for such ones, and for no others. */
  join?(): ScorerMember
}
/** One of a scorer's regular callers. */
export interface ScorerMember extends Scorer {
  /** Nobody waits for it any more. */
  leave(): void
}

/** What `rewardScorer` scores with. */
export interface ModelScorerOptions {
  /** Sequence classifier with one output a head. */
  model: NativeModel
  policyTokenizer: Tokenizer
  scorerTokenizer: Tokenizer
  /** Longer inputs are cut on the left. */
  maxLength: number
  /** Tokens of one forward; a batcher has its own. */
  batchTokens: number
  /** What inputs have in common at their beginning is computed once (default true); a batcher always does so. */
  sharePrefixes?: boolean
  /** Ranks that share the work: each asks for all scores, computes a part and gets all. Not with a batcher. */
  group?: NativeProcessGroup | undefined
  /** Of `model`: callers share its forwards. Without it each call has forwards of its own. */
  batcher?: ScoreBatcher
}

export interface TrainPolicyOptions extends TrainingContext {
  /** Causal model with a value head, trained in place; not the reference itself (use `clone()`). */
  policy: NativeModel
  /** Frozen; may be shared by any number of policies. */
  reference: NativeModel
  scorer: Scorer
  prompts: PromptSet
  settings: PpoSettings
  eosTokenIds: readonly number[]
  /** The scorer's head that is this policy's reward (default 0). */
  head?: number
  /** The scorer's heads that sigma, mean and minimum are taken over (default all): an ensemble may be a part of the heads. */
  ensemble?: readonly number[]
  /** Mean score of each of the scorer's heads over reference responses, [heads]; measured when `sigma.center` is `reference` and it is absent. */
  referenceMean?: Float32Array
  /** Replaces `settings.objective`. */
  objective?: Objective
  /** Told what is odd but no error: a KL below zero, say. */
  onWarning?: (message: string) => void
}

/** What training came to. */
export interface TrainPolicyResult {
  /** PPO steps taken. */
  steps: number
  /** One entry a PPO step, under classic TRL's names plus `env/reward_mean`, `env/reward_std`, `objective/sigma_mean`, `objective/sigma_std`. */
  metrics: StepMetrics[]
  /** KL coefficient after the last step. */
  klCoef: number
}

export interface EvaluatePolicyOptions {
  policy: NativeModel
  reference: NativeModel
  prompts: readonly Int32Array[]
  sampling: ResponseSampling
  eosTokenIds: readonly number[]
  seed: number
  batchTokens: number
  /** Decodes the responses; without it `texts` is empty. */
  tokenizer?: Tokenizer
  signal?: AbortSignal
}

/** Fresh samples of a policy. */
export interface PolicyEvaluation {
  responses: Int32Array[]
  /** Special tokens left out. */
  texts: string[]
  /** KL(policy || reference) of each response, exact over the vocabulary, summed over its tokens, nats; [rows]. */
  exactKl: Float32Array
  meanKl: number
}

/** ts/policy/train-policy.ts: trainPolicy */
export type TrainPolicy = (options: TrainPolicyOptions) => Promise<TrainPolicyResult>
/** ts/policy/evaluate-policy.ts: evaluatePolicy */
export type EvaluatePolicy = (options: EvaluatePolicyOptions) => Promise<PolicyEvaluation>
/** ts/policy/scorer.ts: modelScorer */
export type CreateModelScorer = (options: ModelScorerOptions) => Scorer
/** Rows laid end to end, as native code gives them back. */
export type Responses = TokenRows
