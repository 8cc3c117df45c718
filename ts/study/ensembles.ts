/**
 * Ensembles of reward heads on the frozen reward model, by recipe. All heads of a recipe are trained at once and live in one model: heads
 * [e * H, (e + 1) * H) are ensemble e, the ones after the study's ensembles are for calibration alone.
 */
import path from 'node:path'
import { cachePairFeatures } from '../training/features.js'
import { trainHeads } from '../training/heads.js'
import type { HeadsResult, PairFeatures } from '../training/types.js'
import type { StudyConfig } from './config.js'
import { type ModelStage, saveModel } from './models.js'
import type { StageContext } from './stages.js'
import type { EnsembleSummary, Recipe } from './summary.js'

export interface EnsembleStage {
  ensembles: EnsembleSummary[]
  /** Heads in the saved model. */
  heads: number
}

export const ensembleHeads = (config: Pick<StudyConfig, 'layout'>, ensemble: number): number[] =>
  Array.from({ length: config.layout.heads }, (_, head) => ensemble * config.layout.heads + head)

/** Numbers of a recipe's ensembles in the study. */
export function ensemblesOf(config: Pick<StudyConfig, 'layout'>, recipe: Recipe): number[] {
  const count = recipe === 'paper-keep-first' ? 1 : config.layout.ensembles
  return Array.from({ length: count }, (_, ensemble) => ensemble)
}

/** Numbers of the heads that no policy of the study is rewarded by. */
export const calibrationHeads = (config: Pick<StudyConfig, 'layout' | 'calibration'>): number[] =>
  Array.from({ length: config.calibration.ensembles }, (_, i) =>
    ensembleHeads(config, config.layout.ensembles + i).slice(0, config.calibration.heads),
  ).flat()

/** Heads trained at a recipe: the study's, and for calibration; `keep-first` exists to be reported and has one ensemble. */
function headCount(config: StudyConfig, recipe: Recipe): number {
  if (recipe === 'paper-keep-first') return config.layout.heads
  // Sigma of a calibration head is taken over a whole ensemble, of which there are several: they differ in sigma's size.
  return (config.layout.ensembles + config.calibration.ensembles) * config.layout.heads
}

export async function makeEnsembles(
  stage: ModelStage,
  recipes: readonly Recipe[],
  rewardFolder: string,
  context: StageContext,
): Promise<Record<string, EnsembleStage>> {
  const { addon, config, inputs, signal } = stage
  const model = await addon.loadModel(rewardFolder, {
    task: 'sequence-classification',
    dtype: config.dtype,
    device: config.device,
  })
  const { batchTokens, sharePrefixes } = config.rewardModel
  try {
    const features = await cachePairFeatures(model, inputs.preferences.train, { batchTokens, sharePrefixes, signal })
    const heldOut = await cachePairFeatures(model, inputs.preferences.heldOut, { batchTokens, sharePrefixes, signal })
    const trainedHead = await model.scoreWeight()
    const results: Record<string, EnsembleStage> = {}
    for (const recipe of recipes) {
      const result = await trainRecipe(stage, recipe, { trainedHead, features, heldOut })
      await model.setScoreWeight(result.weights, result.heads)
      await saveModel(model, inputs.tokenizers.scorer, path.join(context.folder, recipe))
      results[recipe] = { ensembles: summarise(config, recipe, result), heads: result.heads }
    }
    await features.cache.dispose()
    await heldOut.cache.dispose()
    return results
  } finally {
    await model.dispose()
  }
}

interface FrozenBase {
  /** The single reward model's head. */
  trainedHead: Float32Array
  features: PairFeatures
  heldOut: PairFeatures
}

async function trainRecipe(stage: ModelStage, recipe: Recipe, base: FrozenBase): Promise<HeadsResult> {
  const { config, signal } = stage
  const settings = config.heads[recipe === 'anchored' ? 'anchored' : 'paper']
  const keepFirst = recipe === 'paper-keep-first'
  return trainHeads({
    features: base.features,
    heldOut: base.heldOut,
    settings: {
      ...settings,
      heads: headCount(config, recipe),
      init: { ...settings.init, kind: keepFirst ? 'keep-first' : 'all-new' },
      seed: settings.seed + config.seed,
    },
    ...(keepFirst ? { firstHead: base.trainedHead } : {}),
    signal,
    onStep: (metrics, total) => stage.progress(metrics.step, total),
  })
}

function summarise(config: StudyConfig, recipe: Recipe, result: HeadsResult): EnsembleSummary[] {
  return ensemblesOf(config, recipe).map((ensemble) => {
    const rows = ensembleHeads(config, ensemble)
    const of = (values: Float32Array | null) => rows.map((row) => values?.[row] ?? Number.NaN)
    return {
      recipe,
      ensemble,
      steps: result.steps,
      finalLossPerHead: of(result.lossPerHead),
      heldOutAccuracyPerHead: of(result.heldOutAccuracyPerHead),
    }
  })
}
