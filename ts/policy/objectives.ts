import { parseOptions } from '../config/issues.js'
import type { Random } from '../data/random.js'
import { argumentError } from '../errors.js'
import { type ObjectiveOptions, type ObjectiveSettings, objectiveSettings, type SigmaSettings } from './settings.js'
import { disagreement, rowsOf } from './sigma.js'

/** One batch of scored responses. */
export interface ObjectiveInput {
  /** [rows, heads], row-major, every head of the scorer. */
  scores: Float32Array
  heads: number
  /** The head that is this policy's reward. */
  proxy: number
  /** The heads that sigma, mean and minimum are taken over. */
  ensemble: readonly number[]
  /** Columns whose sum of squares is the variance, for scorers that know it in closed form; absent: sigma is over the ensemble. */
  spread?: readonly number[] | undefined
  /** The KL coefficient of this step. */
  beta: number
  /** Subtracted from each head before sigma is taken: nothing, [heads], or [rows, heads]. */
  centers: Float32Array | null
  /** For the shuffled control; seeded by policy and step. */
  random: Random
}

/** What a step is rewarded with. */
export interface ObjectiveOutput {
  /** Reward of each response before the KL term, [rows]. */
  scores: Float32Array
  /** Weight of each response's KL: beta, beta * sigma_i or beta * sigma_i^2; [rows], >= 0. */
  klWeights: Float32Array
  /** What multiplied or was subtracted, [rows]; null for objectives without it. */
  sigma: Float32Array | null
}

/** Anything that turns head scores into rewards and KL weights; users may pass their own. */
export type Objective = (input: ObjectiveInput) => ObjectiveOutput

/** What a user's function gave, before it reaches the trainer. */
export function checkOutput(output: ObjectiveOutput, rows: number): ObjectiveOutput {
  const each = { scores: output?.scores, klWeights: output?.klWeights, sigma: output?.sigma ?? null }
  for (const [name, values] of Object.entries(each)) {
    if (values === null) continue
    const argument = `objective.${name}`
    if (!(values instanceof Float32Array) || values.length !== rows) {
      const received = values instanceof Float32Array ? `${values.length} of them` : typeof values
      throw argumentError('E_SHAPE', argument, `a Float32Array of ${rows} numbers, one a response`, received)
    }
    const wrong = values.findIndex((value) => !Number.isFinite(value))
    if (wrong >= 0)
      throw argumentError('E_NON_FINITE', `${argument}[${wrong}]`, 'a finite number', String(values[wrong]))
  }
  const negative = output.klWeights.findIndex((weight) => weight < 0)
  if (negative >= 0)
    throw argumentError(
      'E_RANGE',
      `objective.klWeights[${negative}]`,
      'a number >= 0',
      String(output.klWeights[negative]),
    )
  return { ...output, sigma: each.sigma }
}

/**
 * The objective of a configuration, to build another on; what is left out is as there.
 * @throws E_CONFIG naming the setting
 *
 * @example
 * ```ts
 * import { Policy } from 'prudent'
 * import { createObjective, encodePrompts, type Objective, Tokenizer, trainPolicy } from 'prudent/policy'
 *
 * const plain = createObjective({ kind: 'vanilla' })
 * // What is above -2 counts as -2.
 * const capped: Objective = (input) => {
 *   const output = plain(input)
 *   return { ...output, scores: output.scores.map((score) => Math.min(-2, score)) }
 * }
 * await using policy = await Policy.load('policy', { dtype: 'float32' })
 * await using reference = await policy.clone()
 * const shorter = async (_prompts: readonly string[], responses: readonly Int32Array[]) => ({
 *   ...{ values: Float32Array.from(responses, (response) => -response.length), heads: 1, texts: [] },
 * })
 * const { metrics } = await trainPolicy({
 *   ...{ policy, reference, scorer: { score: shorter }, objective: capped },
 *   prompts: await encodePrompts(await Tokenizer.load('policy'), ['the', 'a good']),
 *   settings: { batchSize: 2, miniBatchSize: 2, steps: 1, sampling: { maxNewTokens: 4 } },
 * })
 * console.log(metrics[0]['env/reward_mean'] <= -2) // true
 * ```
 */
export function createObjective(options: ObjectiveOptions): Objective {
  const settings = parseOptions(objectiveSettings, options, 'objective')
  const kind = settings.kind
  switch (kind) {
    case 'vanilla':
      return (input) => plain(input, column(input, input.proxy))
    case 'variance-kl':
      return (input) => varianceKl(input, settings.sigma)
    case 'lcb':
      return (input) => penalised(input, column(input, input.proxy), settings.k, settings.sigma)
    case 'mean':
      return (input) => plain(input, overEnsemble(input, mean))
    case 'worst':
      return (input) =>
        plain(
          input,
          overEnsemble(input, (values) => Math.min(...values)),
        )
    case 'mean-variance':
      return (input) =>
        penalised(input, overEnsemble(input, mean), settings.lambda, { ...settings.sigma, power: 'variance' })
    default:
      throw argumentError('E_CONFIG', 'objective.kind', 'a known objective', String(kind satisfies never))
  }
}

/** Whether sigma must be centred on reference responses, and how. */
export function centerOf(settings: ObjectiveSettings): SigmaSettings['center'] {
  return 'sigma' in settings && settings.sigma.constant === undefined ? settings.sigma.center : 'none'
}

function varianceKl(input: ObjectiveInput, settings: SigmaSettings): ObjectiveOutput {
  const sigma = disagreement(input, settings)
  const scores = column(input, input.proxy)
  return { scores, klWeights: Float32Array.from(sigma, (value) => input.beta * value), sigma: Float32Array.from(sigma) }
}

function penalised(
  input: ObjectiveInput,
  scores: Float32Array,
  weight: number,
  settings: SigmaSettings,
): ObjectiveOutput {
  const sigma = disagreement(input, settings)
  return {
    scores: scores.map((score, row) => score - weight * (sigma[row] as number)),
    klWeights: new Float32Array(scores.length).fill(input.beta),
    sigma: Float32Array.from(sigma),
  }
}

function plain(input: ObjectiveInput, scores: Float32Array): ObjectiveOutput {
  return { scores, klWeights: new Float32Array(scores.length).fill(input.beta), sigma: null }
}

function column(input: ObjectiveInput, head: number): Float32Array {
  const rows = rowsOf(input)
  return Float32Array.from({ length: rows }, (_, row) => input.scores[row * input.heads + head] as number)
}

function overEnsemble(input: ObjectiveInput, reduce: (values: number[]) => number): Float32Array {
  const rows = rowsOf(input)
  const of = (row: number) => input.ensemble.map((head) => input.scores[row * input.heads + head] as number)
  return Float32Array.from({ length: rows }, (_, row) => reduce(of(row)))
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
