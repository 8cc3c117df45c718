import { callNative } from '../addon/call.js'
import type { NativeModel } from '../addon/native.js'
import { packRows, unpackRows } from '../data/batching.js'
import { deriveSeed, Random } from '../data/random.js'
import { generateOptions } from './sampling.js'
import type { PpoSettings } from './settings.js'
import type { HeadScores, PromptSet, Scorer } from './types.js'

/** Responses of the reference policy whose scores centre sigma. */
export interface ReferenceSampler {
  reference: NativeModel
  scorer: Scorer
  settings: PpoSettings
  eosTokenIds: readonly number[]
  signal?: AbortSignal | undefined
}

/** Prompts whose reference responses give the mean of each head. */
const REFERENCE_PROMPTS = 512
/** Reference responses to each prompt of a batch. */
const SAMPLES_PER_PROMPT = 4

/** Mean score of each head over responses of the reference policy, [heads]. */
export async function referenceMeans(sampler: ReferenceSampler, prompts: PromptSet): Promise<Float32Array> {
  const order = Random.from(sampler.settings.seed, 'reference-mean')
    .permutation(prompts.ids.length)
    .subarray(0, REFERENCE_PROMPTS)
  const { values, heads } = await sampleReference(
    sampler,
    pick(prompts, order),
    deriveSeed(sampler.settings.seed, 'reference-mean'),
  )
  return columnMeans(values, heads)
}

/** Mean score of each head over reference responses to each prompt, [prompts, heads]. */
export async function promptMeans(sampler: ReferenceSampler, prompts: PromptSet, step: number): Promise<Float32Array> {
  const repeated = Array.from(prompts.ids, (_, row) => Array.from({ length: SAMPLES_PER_PROMPT }, () => row)).flat()
  const { values, heads } = await sampleReference(
    sampler,
    pick(prompts, repeated),
    deriveSeed(sampler.settings.seed, 'prompt-mean', step),
  )
  const block = SAMPLES_PER_PROMPT * heads
  const means = new Float32Array(prompts.ids.length * heads)
  for (let row = 0; row < prompts.ids.length; row++)
    means.set(columnMeans(values.subarray(row * block, (row + 1) * block), heads), row * heads)
  return means
}

/** The prompts with the given numbers. */
export function pick(prompts: PromptSet, rows: ArrayLike<number>): PromptSet {
  const take = <T>(from: readonly T[]) => Array.from(rows, (row) => from[row] as T)
  return { ids: take(prompts.ids), texts: take(prompts.texts) }
}

async function sampleReference(sampler: ReferenceSampler, prompts: PromptSet, seed: number): Promise<HeadScores> {
  const { reference, scorer, settings, eosTokenIds, signal } = sampler
  const options = generateOptions(settings.sampling, { eosTokenIds, seed, batchTokens: settings.batchTokens })
  const responses = await callNative({ signal }, (call) => reference.generate(packRows(prompts.ids), options, call))
  return scorer.score(prompts.texts, unpackRows(responses), signal)
}

function columnMeans(values: Float32Array, heads: number): Float32Array {
  const sums = new Float64Array(heads)
  for (const [index, value] of values.entries()) sums[index % heads] = (sums[index % heads] as number) + value
  return Float32Array.from(sums, (sum) => (sum * heads) / values.length)
}
