/** Everything that is measured before a policy is trained: benchmark accuracies, variances over heads, sigma, the reference's own scores. */
import path from 'node:path'
import type { NativeAddon, NativeModel } from '../addon/native.js'
import type { ScoreBatcher } from '../addon/score-batcher.js'
import { loadUncertainty } from '../addon/uncertainty.js'
import { packRows } from '../data/batching.js'
import { eosTokenIds } from '../data/model-files.js'
import { keepPrefix, templatePrefix } from '../data/template-prefix.js'
import { correlation, histogram, mean } from '../evaluation/describe.js'
import { benchmarkAccuracy } from '../evaluation/reward-bench.js'
import { rowOf, type ScoreMatrix, scoreMatrix } from '../evaluation/score-matrix.js'
import { type SigmaCenter, sigmaOf, sigmaQuality } from '../evaluation/sigma.js'
import { sectionVariances } from '../evaluation/variances.js'
import { modelScorer } from '../policy/scorer.js'
import type { Scorer } from '../policy/types.js'
import type { StudyConfig } from './config.js'
import { ensembleHeads, ensemblesOf } from './ensembles.js'
import { responseText, type StudyInputs } from './inputs.js'
import type { SigmaPower } from './plan.js'
import { repeatPrompts, takePrompts } from './prompts.js'
import {
  type HeadStatistics,
  headStatistics,
  meanTruth,
  type SampleScores,
  sampleReference,
  scoreSample,
  truthOf,
} from './reference.js'
import { CENTERS, type Recipe, type SigmaQuality, type Summary } from './summary.js'

/** The models that policies meet, loaded for as long as they are needed. */
export interface LoadedModels {
  reference: NativeModel
  eosTokenIds: readonly number[]
  scorers: Record<string, NativeModel>
  reward: NativeModel
  judge: NativeModel
  dispose(): Promise<void>
}

export interface ModelFolders {
  policy: string
  reward: string
  judge: string
  /** Holds one folder a recipe. */
  ensembles: string
}

export async function loadModels(
  addon: NativeAddon,
  config: StudyConfig,
  folders: ModelFolders,
  recipes: readonly Recipe[],
  tokenizers: StudyInputs['tokenizers'],
): Promise<LoadedModels> {
  const options = { dtype: config.dtype, device: config.device }
  const classifier = (folder: string) => addon.loadModel(folder, { task: 'sequence-classification', ...options })
  const reference = await addon.loadModel(folders.policy, { task: 'causal-lm', ...options })
  const reward = await classifier(folders.reward)
  const judge = await classifier(folders.judge)
  const scorers: Record<string, NativeModel> = {}
  for (const recipe of recipes) {
    const folder = path.join(folders.ensembles, recipe)
    const scorer = await classifier(folder)
    await loadUncertainty(scorer, folder)
    scorers[recipe] = scorer
  }
  // From the start, so that no score depends on which stages a run finds done.
  const prefix = await templatePrefix(tokenizers.scorer)
  for (const model of [reward, ...Object.values(scorers)]) await keepPrefix(model, prefix)
  await keepPrefix(judge, await templatePrefix(tokenizers.judge))
  const all = [reference, reward, judge, ...Object.values(scorers)]
  const dispose = async () => {
    for (const model of all) await model.dispose()
  }
  return { reference, eosTokenIds: await eosTokenIds(folders.policy), scorers, reward, judge, dispose }
}

/** The models on first use: a study whose stages are all done needs none. */
export class LazyModels {
  readonly #load: () => Promise<LoadedModels>
  #models: Promise<LoadedModels> | undefined

  constructor(load: () => Promise<LoadedModels>) {
    this.#load = load
  }

  get(): Promise<LoadedModels> {
    this.#models ??= this.#load()
    return this.#models
  }

  async dispose(): Promise<void> {
    await (await this.#models?.catch(() => undefined))?.dispose()
  }
}

export interface MeasureContext {
  config: StudyConfig
  inputs: StudyInputs
  models: LoadedModels
  signal: AbortSignal
}

/** @param batcher of `model`, where several policies ask it at the same time */
export function scorerOf(
  context: MeasureContext,
  model: NativeModel,
  kind: 'scorer' | 'judge',
  batcher?: ScoreBatcher,
): Scorer {
  const { config, inputs } = context
  return modelScorer({
    ...(batcher && { batcher }),
    model,
    policyTokenizer: inputs.tokenizers.policy,
    scorerTokenizer: inputs.tokenizers[kind],
    maxLength: config.data.maxLength,
    batchTokens: config.evaluation.batchTokens,
  })
}

/** An ensemble's columns: rewards, and where sigma is known in closed form those of its spread. */
export function ensembleColumns(
  config: StudyConfig,
  recipe: Recipe,
  ensemble: number,
  all: SampleScores,
): { scores: ScoreMatrix; spread?: ScoreMatrix } {
  const scores = selectHeads(all, ensembleHeads(config, recipe, ensemble))
  return all.spread === undefined ? { scores } : { scores, spread: selectHeads(all, all.spread) }
}

/** Columns with the given numbers. */
function selectHeads(matrix: ScoreMatrix, heads: readonly number[]): ScoreMatrix {
  const values = Float32Array.from({ length: matrix.rows * heads.length }, (_, i) => {
    const row = Math.floor(i / heads.length)
    return rowOf(matrix, row)[heads[i % heads.length] as number] as number
  })
  return { values, rows: matrix.rows, heads: heads.length }
}

export interface BenchmarkStage {
  variances: Summary['figures']['variances']
  accuracies: Summary['figures']['accuracies']
  oneResponse: Summary['figures']['oneResponse']
}

/** Figures 1, 6 and 9: the first ensemble of every recipe and the single model on the benchmark. */
export async function measureBenchmark(context: MeasureContext, recipes: readonly Recipe[]): Promise<BenchmarkStage> {
  const { config, inputs, models } = context
  const { tokens, subsets } = inputs.rewardBench
  const batch = { batchTokens: config.evaluation.batchTokens }
  const score = async (model: NativeModel) => {
    const { numLabels, spread } = model.info()
    const heads = numLabels + spread
    return {
      chosen: scoreMatrix(await model.score(packRows(tokens.chosen), batch), heads),
      rejected: scoreMatrix(await model.score(packRows(tokens.rejected), batch), heads),
    }
  }
  const xstest = { xstest: config.data.xstest }
  const single = await score(models.reward)
  const singleSections = benchmarkAccuracy(single.chosen, single.rejected, subsets, xstest).sections
  const result: BenchmarkStage = {
    variances: [],
    accuracies: [],
    oneResponse: { prompt: '', response: '', recipe: recipes[0] as Recipe, scores: [] },
  }
  for (const recipe of recipes) {
    const all = await score(models.scorers[recipe] as NativeModel)
    const own = ensembleHeads(config, recipe, 0)
    const [chosen, rejected] = [selectHeads(all.chosen, own), selectHeads(all.rejected, own)]
    const { sections } = benchmarkAccuracy(chosen, rejected, subsets, xstest)
    result.variances.push(...sectionVariances(chosen, rejected, subsets).map((section) => ({ recipe, ...section })))
    result.accuracies.push(
      ...sections.map((section, i) => ({ recipe, ...section, single: singleSections[i]?.heads[0] ?? Number.NaN })),
    )
    if (recipe === recipes[0]) result.oneResponse.scores = [...rowOf(chosen, 0)]
  }
  const first = tokens.pairs[0]
  if (first && 'messages' in first.chosen) result.oneResponse.prompt = first.chosen.messages[0]?.content ?? ''
  if (first) result.oneResponse.response = responseText(first.chosen)
  return result
}

/** Mean of sigma, and of sigma^2, of each ensemble over reference responses: the unit of beta. */
export type MeanWeights = Record<SigmaPower, Record<SigmaCenter, number[]>>

export interface ReferenceStage {
  statistics: Record<string, HeadStatistics>
  /** By recipe. */
  meanWeight: Record<string, MeanWeights>
  quality: SigmaQuality[]
  /** Mean judge scores of repeated samples on the evaluation prompts. */
  means: { truth: number[]; model: number[] }
  judgeCorrelation: number
}

const GATE_REPEATS = 8

/** The paper's figures draw the reference from as many means as a method has policies. */
export function referenceSamples({ layout, evaluation }: Pick<StudyConfig, 'layout' | 'evaluation'>): number {
  return evaluation.referenceSamples ?? Math.max(2, layout.ensembles * layout.heads * layout.trials)
}

/** Sigma's quality, each head's statistics and the reference's own means, all on fresh responses. */
export async function measureReference(context: MeasureContext, recipes: readonly Recipe[]): Promise<ReferenceStage> {
  const { config, inputs, models, signal } = context
  const { responses, gateSamples } = config.evaluation
  const sampling = { ...context, reference: models.reference, eosTokenIds: models.eosTokenIds }
  const centring = await sampleReference(sampling, takePrompts(inputs.prompts.training, gateSamples), 'centring')
  const gatePrompts = takePrompts(inputs.prompts.evaluation, Math.ceil(gateSamples / GATE_REPEATS), responses)
  const gate = await sampleReference(sampling, repeatPrompts(gatePrompts, GATE_REPEATS), 'gate')
  const result: ReferenceStage = {
    statistics: {},
    meanWeight: {},
    quality: [],
    means: { truth: [], model: [] },
    judgeCorrelation: Number.NaN,
  }
  for (const recipe of recipes) {
    const scorer = scorerOf(context, models.scorers[recipe] as NativeModel, 'scorer')
    const centringScores = await scoreSample(scorer, centring, signal)
    result.statistics[recipe] = headStatistics(centringScores)
    result.meanWeight[recipe] = meanWeights(config, recipe, centringScores, centring.prompts.texts)
    const scores = await scoreSample(scorer, gate, signal)
    result.quality.push(...CENTERS.map((center) => qualityOf(context, recipe, center, scores, gate)))
  }
  const judge = scorerOf(context, models.judge, 'judge')
  const evaluation = takePrompts(inputs.prompts.evaluation, responses)
  for (let i = 0; i < referenceSamples(config); i += 1) {
    const sample = await sampleReference(sampling, evaluation, `evaluation ${i}`)
    const judged = (await scoreSample(judge, sample, signal)).values
    result.means.truth.push(meanTruth(inputs, sample))
    result.means.model.push(mean(judged))
    if (i === 0) result.judgeCorrelation = correlation(judged, truthOf(inputs, sample))
  }
  return result
}

/** Of every ensemble that the scores hold, those for calibration included. */
function meanWeights(
  config: StudyConfig,
  recipe: Recipe,
  scores: SampleScores,
  prompts: readonly string[],
): MeanWeights {
  const ensembles = (scores.heads - (scores.spread?.length ?? 0)) / config.layout.heads
  const of = (power: SigmaPower, center: SigmaCenter) =>
    Array.from({ length: ensembles }, (_, ensemble) => {
      const sigma = sigmaOf(ensembleColumns(config, recipe, ensemble, scores), center, prompts)
      return mean(power === 'variance' ? sigma.map((value) => value ** 2) : sigma)
    })
  const centers = (power: SigmaPower) => ({
    none: of(power, 'none'),
    reference: of(power, 'reference'),
    prompt: of(power, 'prompt'),
  })
  return { std: centers('std'), variance: centers('variance') }
}

/** Each number is the mean over the recipe's ensembles of the study. */
function qualityOf(
  context: MeasureContext,
  recipe: Recipe,
  center: SigmaCenter,
  scores: SampleScores,
  sample: { prompts: { texts: readonly string[] }; texts: string[] },
): SigmaQuality {
  const { truth } = context.inputs
  const scarce = sample.texts.map((text) => truth.isScarce(text))
  const rewards = sample.texts.map((text) => truth.reward(text))
  const prompts = sample.prompts.texts
  const ensembles = ensemblesOf(context.config, recipe).map((ensemble) =>
    sigmaQuality({
      ...ensembleColumns(context.config, recipe, ensemble, scores),
      center,
      prompts,
      truth: rewards,
      scarce,
    }),
  )
  const average = (key: Exclude<keyof (typeof ensembles)[number], 'sigma'>) =>
    mean(ensembles.map((entry) => entry[key]))
  return {
    recipe,
    center,
    samples: scores.rows,
    mean: average('mean'),
    cv: average('cv'),
    withinPromptShare: average('withinPromptShare'),
    errorCorrelation: average('errorCorrelation'),
    scarceCommonRatio: average('scarceCommonRatio'),
    histogram: histogram(ensembles.flatMap((entry) => [...entry.sigma])),
  }
}
