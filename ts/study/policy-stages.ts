/** Calibration of beta and the study's policies: many small trainings, each one resumable file. */
import type { NativeModel } from '../addon/native.js'
import { ScoreBatcher, type ScoreBatcherOptions } from '../addon/score-batcher.js'
import { Random } from '../data/random.js'
import { mean } from '../evaluation/describe.js'
import type { FinishedPolicy } from './aggregate.js'
import { type CalibrationTrial, calibrateBeta, relativeError, slopeOf } from './calibration.js'
import type { StudyConfig } from './config.js'
import { calibrationHeads, ensembleHeads } from './ensembles.js'
import { type LazyModels, scorerOf } from './measure.js'
import type { ModelStage } from './models.js'
import { type Arm, type PolicyUnit, policySeed, type StudyPlan, unitName, weighsKl } from './plan.js'
import { finalKlOf, type PolicyContext, runPolicy, type TrainedHead } from './policy-unit.js'
import { takePrompts } from './prompts.js'
import { type MatchOptions, trainMatched } from './refinement.js'
import { hashOf, type SharedContext, type StageResult, type StageStore } from './stages.js'
import { pairedMeanDifference, resample } from './statistics/intervals.js'
import type { Measured, StudyOptions } from './study.js'
import type { CalibrationSummary, Recipe, Refinement } from './summary.js'

/** What calibration alone finds; refinement is known when the arm's policies are. */
export type Calibrated = Omit<CalibrationSummary, 'refinement'>

/** An arm as it is compared. */
export interface TrainedArm {
  id: string
  calibration: Calibrated
  /** What its policies were trained at. */
  beta: number
  policies: readonly FinishedPolicy[]
  /** null for a baseline */
  refinement: Refinement | null
}

export interface PolicyStage extends Pick<StudyOptions, 'config' | 'signal' | 'observer'> {
  store: StageStore
  stage: ModelStage
  plan: StudyPlan
  models: LazyModels
  measured: Measured
  lanes: number
}

/** Loads the models when a policy is to be trained, and not when all are. */
function policyContext(study: PolicyStage): () => Promise<PolicyContext> {
  let context: Promise<PolicyContext> | undefined
  return () => (context ??= makePolicyContext(study))
}

async function makePolicyContext(study: PolicyStage): Promise<PolicyContext> {
  const { config, stage, measured, signal } = study
  const models = await study.models.get()
  const measuring = { config, inputs: stage.inputs, models, signal }
  const shared = (model: NativeModel, kind: 'scorer' | 'judge') =>
    scorerOf(measuring, model, kind, new ScoreBatcher(model, batching(config)))
  const recipes = Object.fromEntries(
    Object.entries(models.scorers).map(([recipe, model]) => [
      recipe,
      {
        scorer: shared(model, 'scorer'),
        statistics: measured.reference.statistics[recipe] as PolicyContext['recipes'][string]['statistics'],
        meanWeight: measured.reference.meanWeight[recipe] as PolicyContext['recipes'][string]['meanWeight'],
      },
    ]),
  )
  const { reference, eosTokenIds } = models
  return {
    config,
    inputs: stage.inputs,
    reference,
    eosTokenIds,
    recipes,
    judge: shared(models.judge, 'judge'),
    signal,
  }
}

const batching = ({ scoring, evaluation }: StudyConfig): ScoreBatcherOptions => ({
  ...scoring,
  maxBatchTokens: evaluation.batchTokens,
})

/** What the training of a policy depends on, whichever stage it is in. */
const trainingKey = ({ config, measured }: PolicyStage) => [
  // With fixed shapes scores do not depend on how they were batched.
  ...(config.scoring.fixedShapes ? [] : [config.scoring]),
  measured.key,
  config.seed,
  config.ppo,
  config.objective,
  config.prompts,
]

/** Brings every arm to the same KL: vanilla of a recipe to the target, the others to what vanilla reached on the same heads. */
export async function calibrateArms(study: PolicyStage): Promise<StageResult<Calibrated>[]> {
  const done: StageResult<Calibrated>[] = []
  for (const arm of study.plan.arms) {
    const vanilla = done.find((entry) => entry.value.arm === `${arm.recipe}/vanilla`)
    const target =
      arm.method === 'vanilla'
        ? study.config.calibration.targetKl
        : (vanilla?.value.kl.estimate ?? study.config.calibration.targetKl)
    const start = vanilla && startsAtVanilla(study, arm) ? vanilla.value.beta : study.config.calibration.firstBeta
    done.push(await calibrateArm(study, arm, { targetKl: target, firstBeta: start }))
  }
  return done
}

/** Where sigma weighs one on average, vanilla's beta is near. */
const startsAtVanilla = ({ config }: PolicyStage, arm: Arm): boolean =>
  !weighsKl(arm.method) || config.objective.sigmaUnit === 'ensemble'

async function calibrateArm(
  study: PolicyStage,
  arm: Arm,
  aim: { targetKl: number; firstBeta: number },
): Promise<StageResult<Calibrated>> {
  const { config, store, measured } = study
  const { targetKl, firstBeta } = aim
  // What is done after calibration changes nothing in it.
  const { refinements, ...calibration } = config.calibration
  const dependencies = [trainingKey(study), calibration, arm, aim, config.layout.heads]
  return store.sharedStage(`calibration-${arm.id.replaceAll('/', '-')}`, dependencies, async (context) => {
    const policies = policyContext(study)
    const perHead = new Map<number, number[]>()
    const measure = async (beta: number) => {
      const kls = await measureKl(study, policies, context, arm, beta)
      perHead.set(beta, kls)
      return mean(kls)
    }
    const { tolerance, maxTrials } = calibration
    const outcome = await calibrateBeta(measure, { target: targetKl, tolerance, firstBeta, maxTrials })
    const kls = perHead.get(outcome.beta) ?? []
    const draws = resample(
      kls.length,
      config.verdict.resamples,
      Random.from(config.seed, 'calibration', arm.id, measured.key),
    )
    return {
      arm: arm.id,
      targetKl,
      beta: outcome.beta,
      kl: pairedMeanDifference(kls, new Array<number>(kls.length).fill(0), { level: config.verdict.level, draws }),
      samples: calibration.samples * kls.length,
      relativeError: relativeError(outcome.kl, targetKl),
      tolerance,
      matched: outcome.matched,
      trials: outcome.trials.map((trial: CalibrationTrial) => ({ ...trial, policies: kls.length })),
    }
  })
}

const ensembleOf = (config: StudyConfig, recipe: Recipe, index: number) => ({
  ensembleIndex: index,
  ensemble: ensembleHeads(config, recipe, index),
})

async function measureKl(
  study: PolicyStage,
  context: () => Promise<PolicyContext>,
  stage: SharedContext,
  arm: Arm,
  beta: number,
): Promise<number[]> {
  const { config, store, observer } = study
  const prompts = takePrompts(
    study.stage.inputs.prompts.evaluation,
    config.calibration.samples,
    config.evaluation.responses,
  )
  const units = calibrationHeads(config, arm.recipe).map(({ ensemble, head }, i) => ({
    name: `beta-${hashOf(beta)}-head-${head}`,
    work: async () => {
      const unit: TrainedHead = {
        arm,
        beta,
        seed: policySeed(config.seed, config.layout.ensembles, i, 0),
        head,
        ...ensembleOf(config, arm.recipe, ensemble),
      }
      return { kl: await finalKlOf(await context(), unit, prompts) }
    },
  }))
  const progress = (done: number, total: number) =>
    observer.progress(`calibration of ${arm.id}, beta ${beta.toPrecision(3)}`, done, total)
  const results = await store.units(stage, units, {
    width: policiesAtOnce(study.lanes),
    signal: study.signal,
    progress,
  })
  return results.map(({ kl }) => kl)
}

/** More than lanes: while one policy decodes and tokenises in TypeScript, another's native step keeps its lane busy. */
const policiesAtOnce = (lanes: number) => lanes + 2

/** Trains and judges every policy of the plan, arm by arm; a recipe's vanilla comes first and is what the others are matched to. */
export async function runArms(
  study: PolicyStage,
  calibrated: readonly StageResult<Calibrated>[],
): Promise<TrainedArm[]> {
  const done: TrainedArm[] = []
  for (const [i, arm] of study.plan.arms.entries()) {
    const calibration = (calibrated[i] as StageResult<Calibrated>).value
    const baseline = done.find((entry) => entry.id === `${arm.recipe}/vanilla`)
    const train = (beta: number, attempt: number) => runArm(study, arm, beta, attempt)
    const trained = baseline
      ? await trainMatched(train, baseline.policies, matchOptions(study, baseline, calibration))
      : { beta: calibration.beta, policies: await train(calibration.beta, 0), refinement: null }
    done.push({ id: arm.id, calibration, ...trained })
  }
  return done
}

function matchOptions({ config }: PolicyStage, baseline: TrainedArm, calibration: Calibrated): MatchOptions {
  const { level, resamples, klTolerance } = config.verdict
  return {
    baseline: baseline.id,
    firstBeta: calibration.beta,
    // A treatment often meets its target at the first trial; its KL falls much as vanilla's does.
    slope: slopeOf(calibration.trials) ?? slopeOf(baseline.calibration.trials),
    tolerance: klTolerance,
    limit: config.calibration.refinements,
    level,
    resamples,
    // The verdict's own draws: both print one interval.
    random: () => Random.from(config.seed, 'verdict', calibration.arm, 'truth'),
  }
}

/** Every attempt is a stage of its own; the first carries the arm's name alone. */
async function runArm(study: PolicyStage, arm: Arm, beta: number, attempt: number): Promise<FinishedPolicy[]> {
  const { config, store, plan, observer, measured } = study
  const units = plan.policies.filter((unit) => unit.arm === arm.id)
  const dependencies = [trainingKey(study), config.evaluation, arm.id, beta, config.layout.heads, units]
  const name = `policies-${arm.id.replaceAll('/', '-')}${attempt === 0 ? '' : `-refined-${attempt}`}`
  const label = attempt === 0 ? arm.id : `${arm.id}, beta ${beta.toPrecision(3)}`
  const stage = await store.sharedStage(name, dependencies, async (context) => {
    const policies = policyContext(study)
    const prompts = takePrompts(study.stage.inputs.prompts.evaluation, config.evaluation.responses)
    const referenceTruth = mean(measured.reference.means.truth)
    const train = (unit: PolicyUnit) => async () => {
      const own = ensembleOf(config, arm.recipe, unit.ensemble)
      const head = own.ensemble[unit.head] as number
      return runPolicy(await policies(), { arm, beta, seed: unit.seed, head, ...own }, prompts)
    }
    const results = await store.units(
      context,
      units.map((unit) => ({ name: unitName(unit), work: train(unit) })),
      {
        width: policiesAtOnce(study.lanes),
        signal: study.signal,
        progress: (done, total) => observer.progress(label, done, total),
      },
    )
    return results.map(({ seconds, ...numbers }, i) => ({
      ...(units[i] as PolicyUnit),
      beta,
      ...numbers,
      belowReference: numbers.truth < referenceTruth,
    }))
  })
  return stage.value
}
