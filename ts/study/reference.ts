/**
 * Fresh responses of the reference policy: what sigma is centred on, what the gate and the figures about sigma are measured on, and what
 * policies are compared with. Each purpose has samples of its own.
 */
import type { NativeModel } from '../addon/native.js'
import { deriveSeed } from '../data/random.js'
import { mean, standardDeviation } from '../evaluation/describe.js'
import { headOf, type ScoreMatrix, scoreMatrix } from '../evaluation/score-matrix.js'
import { headMeans } from '../evaluation/sigma.js'
import { evaluatePolicy } from '../policy/evaluate-policy.js'
import type { PromptSet, Scorer } from '../policy/types.js'
import type { StudyConfig } from './config.js'
import type { StudyInputs } from './inputs.js'

export interface Sample {
  prompts: PromptSet
  responses: Int32Array[]
  texts: string[]
}

export interface SampleContext {
  config: StudyConfig
  inputs: StudyInputs
  reference: NativeModel
  eosTokenIds: readonly number[]
  signal: AbortSignal
}

/** One response a prompt, drawn from a stream named by `purpose`. */
export async function sampleReference(context: SampleContext, prompts: PromptSet, purpose: string): Promise<Sample> {
  const { config, reference } = context
  const { responses, texts } = await evaluatePolicy({
    policy: reference,
    reference,
    prompts: prompts.ids,
    sampling: config.ppo.sampling,
    eosTokenIds: context.eosTokenIds,
    seed: deriveSeed(config.seed, 'reference', purpose),
    batchTokens: config.evaluation.batchTokens,
    tokenizer: context.inputs.tokenizers.policy,
    signal: context.signal,
  })
  return { prompts, responses, texts }
}

/** Every column that the scorer gives. */
export interface SampleScores extends ScoreMatrix {
  /** Columns whose sum of squares is the variance; absent: sigma is over heads. */
  spread?: readonly number[]
}

export async function scoreSample(scorer: Scorer, sample: Sample, signal: AbortSignal): Promise<SampleScores> {
  const { values, heads, spread } = await scorer.score(sample.prompts.texts, sample.responses, signal)
  return { ...scoreMatrix(values, heads), ...(spread && { spread }) }
}

/** Mean and standard deviation of each column over reference responses. */
export interface HeadStatistics {
  mean: number[]
  std: number[]
}

export function headStatistics(scores: ScoreMatrix): HeadStatistics {
  const std = Array.from({ length: scores.heads }, (_, head) => standardDeviation(headOf(scores, head)))
  return { mean: [...headMeans(scores)], std }
}

export const truthOf = (inputs: StudyInputs, sample: Pick<Sample, 'texts'>): number[] =>
  sample.texts.map((text) => inputs.truth.reward(text))

export const meanTruth = (inputs: StudyInputs, sample: Pick<Sample, 'texts'>): number => mean(truthOf(inputs, sample))
