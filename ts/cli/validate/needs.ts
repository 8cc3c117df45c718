/** What a configuration asks for: models, data and the lengths that must fit. */
import type { ModelReference } from '../../config/blocks.js'
import type { PairColumns } from '../../data/preferences.js'
import type { DataSource } from '../../data/sources.js'
import { PRIOR_SUBSETS } from '../../evaluation/reward-bench.js'
import type { StudyConfig } from '../../study/config.js'
import type { JudgeConfig } from '../../study/judge/config.js'
import type { ComparisonConfig } from '../../uncertainty/comparison/config.js'
import type { ExperimentConfig } from '../experiment/config.js'
import type { AnyConfig } from '../support/any-config.js'
import type { EnsembleRun, LanguageModelRun, PolicyRun, RewardRun } from '../train/schemas.js'

export interface ModelNeed {
  /** Key of the configuration, as findings name it. */
  key: string
  reference: ModelReference
  task: 'causal-lm' | 'sequence-classification'
  /** The head is made new: the folder need not hold one. */
  newHead: boolean
  /** Another tokenizer than the model's own. */
  tokenizer?: ModelReference | undefined
  /** Weights that training changes, with its optimiser's state: what checkpoints hold. */
  trained: 'all' | 'heads' | 'none'
}

export interface DataNeed {
  key: string
  source: DataSource
  rows: { kind: 'pairs'; columns: PairColumns } | { kind: 'texts'; column: string }
  maxLength: number
  /** Key of the model whose tokenizer reads the rows. */
  model: string
}

/** Tokens that go through a model at most. */
export interface LengthNeed {
  key: string
  tokens: number
  model: string
}

export interface Needs {
  models: ModelNeed[]
  /** Tokenizers of models that do not exist yet. */
  tokenizers: { key: string; reference: ModelReference; vocabSize: number | null }[]
  data: DataNeed[]
  lengths: LengthNeed[]
  files: { key: string; path: string }[]
  /** Heads of a scorer that are named by number. */
  heads: { key: string; model: string; numbers: readonly number[] }[]
  device: string
  dtype: 'auto' | 'float32' | 'bfloat16'
  /** Checkpoints that stand side by side while one more is written. */
  checkpoints: number
}

export function needsOf(any: AnyConfig): Needs {
  switch (any.kind) {
    case 'language-model':
      return ofLanguageModel(any.config)
    case 'reward':
      return ofPairs(any.config, { newHead: true, trained: 'all' })
    case 'ensemble':
      return ofPairs(any.config, { newHead: false, trained: 'heads' })
    case 'policy':
      return ofPolicy(any.config)
    case 'judge':
      return ofJudge(any.config)
    case 'study':
      return ofStudy(any.config)
    case 'experiment':
      return ofExperiment(any.config)
    case 'sources':
      return ofSources(any.config)
  }
}

function none(config: { device: string; dtype: Needs['dtype'] }): Needs {
  const { device, dtype } = config
  return { models: [], tokenizers: [], data: [], lengths: [], files: [], heads: [], device, dtype, checkpoints: 0 }
}

/** The newest ones, the best, and the one that is being written. */
const kept = (saving: { keep: number }): number => saving.keep + 2

function ofLanguageModel(config: LanguageModelRun): Needs {
  const { source, column, maxLength } = config.data
  const needs = { ...none(config), checkpoints: kept(config.saving) }
  needs.data.push({ key: 'data', source, rows: { kind: 'texts', column }, maxLength, model: 'model' })
  if (!('config' in config.model)) {
    const { model: reference, tokenizer } = config
    needs.models.push({ key: 'model', reference, tokenizer, task: 'causal-lm', newHead: false, trained: 'all' })
  } else {
    needs.files.push({ key: 'model.config', path: config.model.config })
    if (config.tokenizer) needs.tokenizers.push({ key: 'model', reference: config.tokenizer, vocabSize: null })
  }
  return needs
}

function ofPairs(config: RewardRun | EnsembleRun, of: Pick<ModelNeed, 'newHead' | 'trained'>): Needs {
  const { source, columns, maxLength } = config.data
  const { model: reference, tokenizer } = config
  return {
    ...none(config),
    models: [{ key: 'model', reference, tokenizer, task: 'sequence-classification', ...of }],
    data: [{ key: 'data', source, rows: { kind: 'pairs', columns }, maxLength, model: 'model' }],
    checkpoints: kept(config.saving),
  }
}

function ofPolicy(config: PolicyRun): Needs {
  const { scorer, prompts, ppo } = config
  const needs = { ...none(config), checkpoints: kept(config.saving) }
  const causal = { task: 'causal-lm', newHead: false } as const
  needs.models.push({ ...causal, key: 'model', reference: config.model, tokenizer: config.tokenizer, trained: 'all' })
  if (config.reference) needs.models.push({ ...causal, key: 'reference', reference: config.reference, trained: 'none' })
  const { model: reference, tokenizer } = scorer
  const classifier = { task: 'sequence-classification', newHead: false, trained: 'none' } as const
  needs.models.push({ ...classifier, key: 'scorer.model', reference, tokenizer })
  const numbers = [scorer.head, ...(scorer.ensemble ?? [])]
  needs.heads.push({ key: 'scorer.head', model: 'scorer.model', numbers })
  needs.data.push(promptData('prompts', prompts, 'model'))
  const tokens = prompts.queryTokens.max + ppo.sampling.maxNewTokens
  needs.lengths.push({ key: 'prompts.queryTokens.max + ppo.sampling.maxNewTokens', tokens, model: 'model' })
  needs.lengths.push({ key: 'scorer.maxLength', tokens: scorer.maxLength, model: 'scorer.model' })
  return needs
}

function promptData(key: string, prompts: PolicyRun['prompts'], model: string): DataNeed {
  const { source, column, queryTokens } = prompts
  return { key, source, rows: { kind: 'texts', column }, maxLength: queryTokens.max, model }
}

function ofJudge(config: JudgeConfig): Needs {
  const needs = none(config)
  const causal = { task: 'causal-lm', newHead: false, trained: 'none' } as const
  needs.models.push({ ...causal, key: 'reference', reference: config.reference, tokenizer: config.tokenizer })
  const { model: reference, tokenizer, maxLength } = config.judge
  const judge = { task: 'sequence-classification', newHead: false, trained: 'none' } as const
  needs.models.push({ ...judge, key: 'judge.model', reference, tokenizer })
  needs.data.push(promptData('prompts', config.prompts, 'reference'))
  const tokens = config.prompts.queryTokens.max + config.sampling.maxNewTokens
  needs.lengths.push({ key: 'prompts.queryTokens.max + sampling.maxNewTokens', tokens, model: 'reference' })
  needs.lengths.push({ key: 'judge.maxLength', tokens: maxLength, model: 'judge.model' })
  for (const group of config.groups)
    for (const [index, policy] of group.policies.entries())
      needs.files.push({ key: `groups.${group.name}.policies.${index}`, path: policy.path })
  return needs
}

/** Of models that the experiment makes on the way only the heads are known, and the configuration has held them against each other. */
function ofExperiment(config: ExperimentConfig): Needs {
  const { device, reward, ensemble, policies, judge } = config
  const needs = { ...none({ device, dtype: reward.dtype }), checkpoints: kept(reward.saving) }
  const classifier = { task: 'sequence-classification', newHead: false, trained: 'none' } as const
  const causal = { task: 'causal-lm', newHead: false } as const
  const model = 'reward.model'
  needs.models.push(
    { ...classifier, newHead: true, trained: 'all', key: model, reference: reward.model, tokenizer: reward.tokenizer },
    { ...causal, trained: 'all', key: 'policies.model', reference: policies.model, tokenizer: policies.tokenizer },
    { ...classifier, key: 'judge.model', reference: judge.model, tokenizer: judge.tokenizer },
  )
  if (policies.reference)
    needs.models.push({ ...causal, trained: 'none', key: 'policies.reference', reference: policies.reference })
  for (const [key, { source, columns, maxLength }] of Object.entries({ reward: reward.data, ensemble: ensemble.data }))
    needs.data.push({ key: `${key}.data`, source, rows: { kind: 'pairs', columns }, maxLength, model })
  needs.data.push(...benchmarkData(config), promptData('policies.prompts', policies.prompts, 'policies.model'))
  needs.data.push(promptData('judge.prompts', { ...policies.prompts, ...judge.prompts }, 'policies.model'))
  const tokens = policies.prompts.queryTokens.max + policies.ppo.sampling.maxNewTokens
  const lengths: [string, number, string][] = [
    ['policies.prompts.queryTokens.max + policies.ppo.sampling.maxNewTokens', tokens, 'policies.model'],
    ['policies.scorer.maxLength', policies.scorer.maxLength, model],
    ['judge.maxLength', judge.maxLength, 'judge.model'],
  ]
  needs.lengths.push(...lengths.map(([key, count, of]) => ({ key, tokens: count, model: of })))
  return needs
}

function benchmarkData({ benchmark }: ExperimentConfig): DataNeed[] {
  if (benchmark === null) return []
  const { data, priorSets, maxLength } = benchmark
  const columns = { prompt: 'prompt', chosen: 'chosen', rejected: 'rejected' }
  const of = (key: string, source: DataSource): DataNeed => {
    return { key: `benchmark.${key}`, source, rows: { kind: 'pairs', columns }, maxLength, model: 'reward.model' }
  }
  const prior = PRIOR_SUBSETS.map((split) => of(`priorSets ${split}`, { path: priorSets ?? '', split }))
  return [of('data', { path: data, split: 'filtered' }), ...(priorSets === undefined ? [] : prior)]
}

function ofSources(config: ComparisonConfig): Needs {
  const needs = none(config)
  if ('random' in config.model) return needs
  const { model: reference, tokenizer } = config
  const base = { task: 'sequence-classification', newHead: false, trained: 'none' } as const
  needs.models.push({ ...base, key: 'model', reference, tokenizer })
  if (config.data !== undefined) {
    const { source, columns, maxLength } = config.data
    needs.data.push({ key: 'data', source, rows: { kind: 'pairs', columns }, maxLength, model: 'model' })
  }
  return needs
}

const PAIRS = { kind: 'pairs', columns: { chosen: 'chosen', rejected: 'rejected' } } as const
const TEXTS = { kind: 'texts', column: 'text' } as const

function ofStudy(config: StudyConfig): Needs {
  const { data, models } = config
  const needs = none(config)
  for (const name of ['scorer', 'policy', 'judge'] as const) {
    const model = models[name]
    if ('model' in model) {
      const { model: reference, tokenizer } = model
      const judge = { task: 'sequence-classification', newHead: false, trained: 'none' } as const
      needs.models.push({ ...judge, key: `models.${name}`, reference, tokenizer })
    } else {
      const size = model.architecture.vocab_size
      const vocabSize = typeof size === 'number' ? size : null
      needs.tokenizers.push({ key: `models.${name}`, reference: model.tokenizer, vocabSize })
    }
  }
  const { maxLength } = data
  const add = (key: string, source: DataSource, rows: DataNeed['rows'], model: string, length = maxLength) =>
    needs.data.push({ key: `data.${key}`, source, rows, maxLength: length, model: `models.${model}` })
  add('reviews', data.reviews, TEXTS, 'policy', models.policy.maxLength)
  add('reviewsHeldOut', data.reviewsHeldOut, TEXTS, 'policy', models.policy.maxLength)
  add('preferences', data.preferences, PAIRS, 'scorer')
  add('judgePreferences', data.judgePreferences, PAIRS, 'judge')
  for (const [index, source] of data.rewardBench.entries()) add(`rewardBench.${index}`, source, PAIRS, 'scorer')
  needs.files.push({ key: 'data.trueReward', path: data.trueReward })
  return needs
}
