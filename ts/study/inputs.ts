/** The study's inputs: tokenizers, texts, preference pairs and prompts, read once and shared by all stages. */
import path from 'node:path'
import { type HoldOut, holdOut } from '../data/batching.js'
import { resolveModel } from '../data/model-files.js'
import { type PreferencePair, readPairs, type TokenisedPairs, tokenisePairs } from '../data/preferences.js'
import { deriveSeed, Random } from '../data/random.js'
import { type DataReport, emptyReport } from '../data/report.js'
import { type DataSource, readSource, resolveSource } from '../data/sources.js'
import { readTexts } from '../data/texts.js'
import { Tokenizer } from '../data/tokenizer.js'
import { PrudentError } from '../errors.js'
import { cutPrompts } from '../policy/prompts.js'
import type { PromptSet } from '../policy/types.js'
import type { TokenPairs } from '../training/types.js'
import type { StudyConfig } from './config.js'
import { hashOf, hashOfFile } from './stages.js'
import type { Summary } from './summary.js'
import { loadTrueReward, type TrueReward } from './world/true-reward.js'

export interface LabelledPairs {
  pairs: PreferencePair[]
  train: TokenPairs
  heldOut: TokenPairs
  /** Numbers in `pairs` of the held-out ones. */
  heldOutRows: number[]
}

export interface Benchmark {
  tokens: TokenisedPairs
  /** One a pair. */
  subsets: string[]
}

export interface StudyInputs {
  tokenizers: { scorer: Tokenizer; policy: Tokenizer; judge: Tokenizer }
  reviews: string[]
  reviewsHeldOut: string[]
  preferences: LabelledPairs
  judgePreferences: LabelledPairs
  rewardBench: Benchmark
  prompts: { training: PromptSet; evaluation: PromptSet }
  truth: TrueReward
  /** Hash of every file's content, by its place in the config; part of the stages' keys. */
  hashes: Record<string, string>
  report: Summary['data']
}

export async function readInputs(config: StudyConfig): Promise<StudyInputs> {
  const { data, models } = config
  const tokenizers = {
    scorer: await loadTokenizer(models.scorer.tokenizer),
    policy: await loadTokenizer(models.policy.tokenizer),
    judge: await loadTokenizer(judgeTokenizer(config)),
  }
  const report: Summary['data'] = []
  const note = (name: string, source: DataSource, counts: DataReport) => report.push(reportOf(name, source, counts))
  const texts = async (name: string, source: DataSource) => {
    const { texts: rows, report: counts } = await readTexts(readSource(source))
    note(name, source, counts)
    return rows
  }
  const labelled = async (name: string, source: DataSource, tokenizer: Tokenizer) => {
    const { pairs, counts } = await readLabelled(source, tokenizer, config, name)
    note(name, source, counts)
    return pairs
  }
  const reviews = await texts('reviews', data.reviews)
  const reviewsHeldOut = await texts('reviews, held out', data.reviewsHeldOut)
  const preferences = await labelled('preferences', data.preferences, tokenizers.scorer)
  const judgePreferences = await labelled("judge's preferences", data.judgePreferences, tokenizers.judge)
  const rewardBench = await readBenchmark(data.rewardBench, tokenizers.scorer, data.maxLength, note)
  const makePrompts = async (rows: string[], name: string) => {
    const settings = { ...config.prompts, seed: deriveSeed(config.seed, 'prompts', name) }
    return (
      await cutPrompts(rows, settings, tokenizers.policy, { ...emptyReport(), rows: rows.length, used: rows.length })
    ).prompts
  }
  return {
    tokenizers,
    reviews,
    reviewsHeldOut,
    preferences,
    judgePreferences,
    rewardBench,
    prompts: {
      training: await makePrompts(reviews, 'training'),
      evaluation: await makePrompts(reviewsHeldOut, 'evaluation'),
    },
    truth: loadTrueReward(data.trueReward),
    hashes: await hashInputs(config),
    report,
  }
}

function judgeTokenizer({ models: { judge } }: StudyConfig) {
  return 'model' in judge ? (judge.tokenizer ?? judge.model) : judge.tokenizer
}

async function loadTokenizer(reference: { path: string; revision?: string | undefined }): Promise<Tokenizer> {
  return Tokenizer.load((await resolveModel(reference)).folder)
}

function reportOf(name: string, source: DataSource, counts: DataReport): Summary['data'][number] {
  const { null: nulls, empty, identical, overLong } = counts
  const dropped = Object.fromEntries(
    Object.entries({ null: nulls, empty, identical, overLong }).filter(([, count]) => count > 0),
  )
  return { name, file: source.path, rows: counts.rows, used: counts.used, dropped }
}

async function readLabelled(source: DataSource, tokenizer: Tokenizer, config: StudyConfig, name: string) {
  const { pairs, report } = await readPairs(readSource(source))
  const tokens = await tokenisePairs(tokenizer, pairs, {
    maxLength: config.data.maxLength,
    overLong: 'truncate-left',
    report,
  })
  const random = Random.from(config.seed, 'hold-out', name)
  const split: HoldOut = holdOut(tokens.source.length, { random, rows: config.data.heldOutPairs })
  if (split.train.length === 0) {
    throw new PrudentError(
      'E_CONFIG',
      `data.heldOutPairs: ${config.data.heldOutPairs} of ${tokens.source.length} pairs leave none to train on`,
    )
  }
  const part = (rows: Int32Array): TokenPairs => ({
    chosen: Array.from(rows, (row) => tokens.chosen[row] as Int32Array),
    rejected: Array.from(rows, (row) => tokens.rejected[row] as Int32Array),
  })
  const heldOutRows = Array.from(split.heldOut, (row) => tokens.source[row] as number)
  return { pairs: { pairs, train: part(split.train), heldOut: part(split.heldOut), heldOutRows }, counts: report }
}

async function readBenchmark(
  sources: readonly DataSource[],
  tokenizer: Tokenizer,
  maxLength: number,
  note: (name: string, source: DataSource, counts: DataReport) => void,
): Promise<Benchmark> {
  const parts: TokenisedPairs[] = []
  for (const source of sources) {
    const { pairs, report } = await readPairs(readSource(source))
    parts.push(await tokenisePairs(tokenizer, pairs, { maxLength, overLong: 'truncate-left', report }))
    note('benchmark', source, report)
  }
  const subsets = parts.flatMap((part) => Array.from(part.source, (row) => String(part.pairs[row]?.row.values.subset)))
  const first = parts[0] as TokenisedPairs
  const tokens = {
    ...first,
    chosen: parts.flatMap((part) => part.chosen),
    rejected: parts.flatMap((part) => part.rejected),
  }
  return { tokens, subsets }
}

async function hashInputs(config: StudyConfig): Promise<Record<string, string>> {
  const { data, models } = config
  const sources: [string, DataSource][] = [
    ['reviews', data.reviews],
    ['reviewsHeldOut', data.reviewsHeldOut],
    ['preferences', data.preferences],
    ['judgePreferences', data.judgePreferences],
    ...data.rewardBench.map((source, i): [string, DataSource] => [`rewardBench.${i}`, source]),
  ]
  const hashes: Record<string, string> = { trueReward: await hashOfFile(data.trueReward) }
  for (const [name, source] of sources) {
    const { files } = await resolveSource(source)
    hashes[name] = hashOf([source, await Promise.all(files.map(hashOfFile))])
  }
  for (const name of ['scorer', 'policy', 'judge'] as const) {
    const { folder } = await resolveModel(name === 'judge' ? judgeTokenizer(config) : models[name].tokenizer)
    hashes[`${name}Tokenizer`] = hashOf([
      await hashOfFile(path.join(folder, 'tokenizer.json')),
      await hashOfFile(path.join(folder, 'tokenizer_config.json')),
    ])
  }
  return hashes
}

/** The text of the last message: what the true reward judges. */
export function responseText(conversation: PreferencePair['chosen']): string {
  return 'text' in conversation ? conversation.text : (conversation.messages.at(-1)?.content ?? '')
}
