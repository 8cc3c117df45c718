/** The whole study: stages in order, each done once, then the summary. */
import { stat } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import path from 'node:path'
import { loadAddon } from '../addon/load.js'
import type { NativeAddon } from '../addon/native.js'
import { resolveModel } from '../data/model-files.js'
import { writeFileAtomic } from '../run/atomic-files.js'
import { headlineOf, requireComplete, summariseArm, summariseJudges, verdictsOf } from './aggregate.js'
import { gateChecks, preconditions } from './checks.js'
import type { Claims } from './claims.js'
import type { StudyConfig } from './config.js'
import { type EnsembleStage, makeEnsembles } from './ensembles.js'
import { makeIndependentModels } from './independent-models.js'
import { readInputs, type StudyInputs } from './inputs.js'
import { signatureOf } from './judge/policies.js'
import {
  type BenchmarkStage,
  LazyModels,
  loadModels,
  type MeasureContext,
  type ModelFolders,
  measureBenchmark,
  measureReference,
  type ReferenceStage,
  referenceSamples,
} from './measure.js'
import { type ModelStage, makeJudge, makeLanguageModel, makeRewardModel, measureJudge } from './models.js'
import { planStudy, type StudyPlan } from './plan.js'
import { calibrateArms, runArms, type TrainedArm } from './policy-stages.js'
import { type ModelSources, type PublishedModels, publishModels } from './published-models.js'
import { isSource } from './source-recipes.js'
import { hashOf, type StageResult, StageStore } from './stages.js'
import {
  checkedSummary,
  type IndependentModel,
  type LanguageModelSummary,
  RECIPES,
  type Recipe,
  type RewardModelSummary,
  type SigmaQuality,
  type Summary,
  summarySchema,
} from './summary.js'
import { rulesInWords } from './verdict.js'

export interface StudyObserver {
  /** One line for people. */
  note(line: string): void
  progress(label: string, done: number, total: number): void
}

export interface StudyOptions {
  config: StudyConfig
  runFolder: string
  signal: AbortSignal
  observer: StudyObserver
  addon?: NativeAddon
  /** How this process shares the work with others. */
  claims?: Claims
  /**
   * run: everything that is not done yet; prepare: what all policies need, and no policy; aggregate: nothing but the summary, and
   * E_STATE naming what is missing.
   */
  mode?: 'run' | 'prepare' | 'aggregate'
  /** What others make of the reward models, as further stages; called before the first policy. */
  accompany?: (context: Accompaniment) => Promise<void>
  /** Makes what people read, once summary.json is written. */
  publish?: (summary: Summary) => Promise<unknown>
}

export interface Accompaniment {
  store: StageStore
  /** The recipe of the primary comparison. */
  recipe: Recipe
  models: PublishedModels
  /** Names the models and the study's arithmetic: whatever is made of them depends on it. */
  key: string
}

/** Runs what is not done yet and writes summary.json; null when it was told to prepare only. */
export async function runStudy(options: StudyOptions): Promise<Summary | null> {
  const { config, runFolder, observer, mode = 'run' } = options
  const addon = options.addon ?? loadAddon()
  const lanes = config.executor.lanes === 'cores' ? availableParallelism() : config.executor.lanes
  addon.configureExecutor({ lanes, threadsPerLane: config.executor.threadsPerLane })
  const store = new StageStore(runFolder, {
    ...(options.claims && { claims: options.claims }),
    readOnly: mode === 'aggregate',
    started: (name) => observer.note(`${name} …`),
    finished: (name, { seconds, cached }) =>
      observer.note(`${name}: ${cached ? 'done before' : `${seconds.toFixed(1)} s`}`),
  })
  const inputs = await readInputs(config)
  const stage: ModelStage = { addon, config, inputs, signal: options.signal, progress: () => {} }
  const plan = planStudy(config)
  const recipes = recipesOf(plan, config)
  const trained = await trainModels(store, stage, recipes, { lanes, observer })
  const models = new LazyModels(() => loadModels(addon, config, trained.folders, recipes, inputs.tokenizers))
  try {
    const context = { config, inputs, signal: options.signal }
    const measured = await measureModels(store, context, models, trained, recipes)
    await accompany(options, store, stage, trained)
    if (mode === 'prepare') return null
    const study = { ...options, store, stage, plan, models, lanes, measured }
    const trainedArms = await runArms(study, await calibrateArms(study))
    const summary = summarise({ config, plan, inputs, trained, measured, trainedArms, store, addon })
    await publish(options, store, summary)
    return summary
  } finally {
    await models.dispose()
  }
}

async function accompany(
  options: StudyOptions,
  store: StageStore,
  stage: ModelStage,
  trained: TrainedModels,
): Promise<void> {
  if (options.accompany === undefined) return
  const { config, runFolder } = options
  const { recipe } = config.comparisons[0] as StudyConfig['comparisons'][number]
  const sources = recipesOf(planStudy(config), config).filter(isSource)
  const recipes = [...new Set<Recipe>([recipe, 'paper', ...sources])]
  const { models, key } = await publishModels(store, stage, runFolder, recipes, trained.published)
  await options.accompany({ store, recipe, models, key: hashOf([key, config.dtype, config.device]) })
}

/** Of several processes that all end with the same numbers, one writes them down. */
async function publish(options: StudyOptions, store: StageStore, summary: Summary): Promise<void> {
  const file = path.join(options.runFolder, 'summary.json')
  const write = async () => {
    await writeFileAtomic(file, `${JSON.stringify(summary)}\n`)
    await options.publish?.(summary)
  }
  if ((options.claims?.shard.count ?? 1) === 1) return write()
  const { timings, peakMemoryBytes, environment, ...numbers } = summary
  const { cached } = await store.stage('report', [hashOf(numbers)], async () => {
    await write()
    return {}
  })
  const isThere = await stat(file).then(
    () => true,
    () => false,
  )
  if (cached && !isThere) await write()
}

/** Every recipe that policies are trained on, then the others that are only reported. */
export function recipesOf(plan: StudyPlan, { heads }: Pick<StudyConfig, 'heads'>): Recipe[] {
  const sources = RECIPES.filter((recipe) => isSource(recipe) && recipe in heads)
  return [
    ...new Set<Recipe>([...plan.arms.map((arm) => arm.recipe), 'anchored', 'paper', 'paper-keep-first', ...sources]),
  ]
}

interface TrainedModels {
  scorer: LanguageModelSummary
  policy: LanguageModelSummary
  reward: RewardModelSummary
  judge: RewardModelSummary
  ensembles: Record<string, EnsembleStage>
  independent: IndependentModel[]
  folders: ModelFolders
  published: ModelSources
  /** Keys of the stages that all later ones depend on. */
  keys: string[]
}

async function trainModels(
  store: StageStore,
  stage: ModelStage,
  recipes: readonly Recipe[],
  { lanes, observer }: { lanes: number; observer: StudyObserver },
): Promise<TrainedModels> {
  const { config, inputs } = stage
  const { hashes } = inputs
  const common = [config.seed, config.dtype, config.device, config.executor.threadsPerLane]
  const texts = [hashes.reviews, hashes.reviewsHeldOut]
  const language = (name: 'scorer' | 'policy') =>
    store.stage(`language-model-${name}`, [common, texts, config.models[name], hashes[`${name}Tokenizer`]], (context) =>
      makeLanguageModel(stage, name, context),
    )
  const labels = [config.data.heldOutPairs, config.data.maxLength, hashes.trueReward]
  const rewardChain = async () => {
    const scorer = await language('scorer')
    const reward = await store.stage(
      'reward-model',
      [scorer.key, config.rewardModel, hashes.preferences, labels],
      (context) => makeRewardModel(stage, modelFolder(scorer), context),
    )
    const { layout, heads, calibration } = config
    const sizes = [layout.ensembles, layout.heads, calibration.ensembles]
    const ensembles = await store.stage('ensembles', [reward.key, heads, sizes, recipes], (context) =>
      makeEnsembles(stage, recipes, modelFolder(reward), context),
    )
    return { scorer, reward, ensembles }
  }
  const policyChain = async () => {
    const policy = await language('policy')
    const judge = await judgeStage(store, stage, [common, hashes.judgePreferences, hashes.judgeTokenizer, labels])
    return { policy, judge }
  }
  const [{ scorer, reward, ensembles }, { policy, judge }] = await bothOrFirstFailure(rewardChain(), policyChain())
  const independent = await makeIndependentModels(
    {
      store,
      stage,
      width: lanes,
      progress: (done, total) => observer.progress('independent reward models', done, total),
    },
    modelFolder(scorer),
    [scorer.key, config.rewardModel, hashes.preferences, labels],
  )
  return {
    scorer: scorer.value,
    policy: policy.value,
    reward: reward.value,
    judge: judge.value,
    ensembles: ensembles.value,
    independent: independent.models,
    published: { reward, ensembles, independent },
    folders: {
      policy: modelFolder(policy),
      reward: modelFolder(reward),
      judge: judge.model,
      ensembles: ensembles.folder,
    },
    keys: [policy.key, ensembles.key, judge.key],
  }
}

/** Trains the judge, or measures the one that exists. */
async function judgeStage(store: StageStore, stage: ModelStage, dependencies: readonly unknown[]) {
  const { config, signal } = stage
  const { judge } = config.models
  if (!('model' in judge)) {
    const made = await store.stage('judge-model', [...dependencies, judge, config.judgeModel], (context) =>
      makeJudge(stage, judge, context),
    )
    return { ...made, model: modelFolder(made) }
  }
  const { folder } = await resolveModel(judge.model, { signal })
  const measured = await store.stage('judge-model', [...dependencies, judge, await signatureOf(folder)], () =>
    measureJudge(stage, folder),
  )
  return { ...measured, model: folder }
}

/** Waits for both, so that nothing runs on after a failure. */
async function bothOrFirstFailure<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second])
  return Promise.all([first, second])
}

const modelFolder = (stage: StageResult<unknown>): string => path.join(stage.folder, 'model')

export interface Measured {
  reference: ReferenceStage
  benchmark: BenchmarkStage
  /** Key of the reference stage: what policies depend on. */
  key: string
}

async function measureModels(
  store: StageStore,
  context: Omit<MeasureContext, 'models'>,
  models: LazyModels,
  trained: TrainedModels,
  recipes: readonly Recipe[],
): Promise<Measured> {
  const { config, inputs } = context
  const { hashes } = inputs
  const benchmarkFiles = Object.entries(hashes).filter(([name]) => name.startsWith('rewardBench'))
  const benchmark = await store.stage(
    'benchmark',
    [trained.keys, benchmarkFiles, config.data.xstest, config.data.maxLength],
    async () => measureBenchmark({ ...context, models: await models.get() }, recipes),
  )
  const dependencies = [
    trained.keys,
    config.seed,
    { ...config.evaluation, referenceSamples: referenceSamples(config) },
    // What the stage holds of sigma; its form changed once.
    'means of sigma and of its square',
    config.prompts,
    config.ppo.sampling,
    hashes.reviews,
    hashes.reviewsHeldOut,
    hashes.trueReward,
  ]
  const reference = await store.stage('reference', dependencies, async () =>
    measureReference({ ...context, models: await models.get() }, recipes),
  )
  return { reference: reference.value, benchmark: benchmark.value, key: reference.key }
}

interface SummaryParts {
  config: StudyConfig
  plan: StudyPlan
  inputs: StudyInputs
  trained: TrainedModels
  measured: Measured
  trainedArms: TrainedArm[]
  store: StageStore
  addon: NativeAddon
}

function summarise(parts: SummaryParts): Summary {
  const { config, plan, inputs, trained, measured, trainedArms, store, addon } = parts
  const results = trainedArms.flatMap((arm) => arm.policies)
  requireComplete(plan, results)
  const trainedArm = (id: string) => trainedArms.find((arm) => arm.id === id) as TrainedArm
  const arms = plan.arms.map((arm) => summariseArm(arm, results, trainedArm(arm.id).beta))
  const primary = plan.comparisons[0] as StudyPlan['comparisons'][number]
  const vanilla = arms.find((arm) => arm.id === primary.baseline) as (typeof arms)[number]
  const conditions = preconditions(config.preconditions, { ...trained, vanilla })
  const quality = measured.reference.quality.find(
    (entry) => entry.recipe === primary.recipe && entry.center === primary.center,
  ) as SigmaQuality
  const gate = gateChecks(config.gate, quality)
  const reference = measured.reference.means
  const verdicts = verdictsOf(plan, { config, results, reference, preconditions: conditions, gate })
  return checkedSummary(summarySchema, {
    version: 1,
    name: config.name,
    seed: config.seed,
    layout: { ...config.layout, description: describeLayout(config) },
    headline: headlineOf(verdicts),
    data: inputs.report,
    languageModels: { scorer: trained.scorer, policy: trained.policy },
    rewardModel: trained.reward,
    judgeModel: { ...trained.judge, correlationWithTruth: measured.reference.judgeCorrelation },
    ensembles: Object.values(trained.ensembles).flatMap((entry) => entry.ensembles),
    independentModels: trained.independent,
    preconditions: conditions,
    gate,
    sigma: measured.reference.quality,
    calibration: trainedArms.map(({ calibration, refinement }) => ({ ...calibration, refinement })),
    arms,
    figures: { ...measured.benchmark, judged: summariseJudges(plan.arms, results, reference) },
    verdicts: { level: config.verdict.level, rules: rulesInWords(config.verdict), list: verdicts },
    policies: results.map(({ curves, ...result }) => result),
    config,
    environment: environmentOf(addon),
    timings: store.timings(),
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  })
}

function describeLayout({ layout }: StudyConfig): string {
  const { ensembles, heads, trials } = layout
  const policies = ensembles * heads * trials
  const clusters =
    trials === 1
      ? 'every policy has a reward head of its own'
      : `${trials} policies share each head: ${ensembles * heads} clusters`
  return `${ensembles} × ${heads} heads × ${trials} trials: ${policies} policies a method; ${clusters}`
}

function environmentOf(addon: NativeAddon): Summary['environment'] {
  const info = addon.systemInfo()
  return {
    prudent: info.prudent,
    node: process.version,
    libtorch: info.libtorch,
    cpu: info.cpu.model || (cpus()[0]?.model ?? 'unknown'),
    cores: availableParallelism(),
    lanes: info.threads.lanes,
    threadsPerLane: info.threads.threadsPerLane,
  }
}
