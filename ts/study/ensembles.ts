/**
 * Ensembles of reward heads on the frozen reward model, by recipe. All heads of a recipe are trained at once and live in one model: heads
 * [e * H, (e + 1) * H) are ensemble e, the ones after the study's ensembles are for calibration alone.
 */
import path from 'node:path'
import type { NativeModel } from '../addon/native.js'
import { trainHeads } from '../training/heads.js'
import type { HeadsResult, PairFeatures, TokenPairs } from '../training/types.js'
import { cacheLayers } from '../uncertainty/fit.js'
import type { StudyConfig } from './config.js'
import { type ModelStage, saveModel } from './models.js'
import { isSource, makeSource } from './source-recipes.js'
import type { StageContext } from './stages.js'
import type { EnsembleSummary, Recipe } from './summary.js'

export interface EnsembleStage {
  ensembles: EnsembleSummary[]
  /** Heads in the saved model. */
  heads: number
}

type Sizes = Pick<StudyConfig, 'layout' | 'calibration' | 'heads'>

/** Numbers of an ensemble's heads in the recipe's model. Heads of one layer stand together there; those of an ensemble take turns. */
export function ensembleHeads(config: Sizes, recipe: Recipe, ensemble: number): number[] {
  const { layout, heads } = config
  const layers = recipe === 'layers' ? (heads.layers?.layers.length ?? 1) : 1
  const perLayer = headCount(config, recipe) / layers
  const first = (ensemble * layout.heads) / layers
  return Array.from(
    { length: layout.heads },
    (_, head) => (head % layers) * perLayer + first + Math.floor(head / layers),
  )
}

/** Numbers of a recipe's ensembles in the study. */
export function ensemblesOf(config: Pick<StudyConfig, 'layout'>, recipe: Recipe): number[] {
  const count = recipe === 'paper-keep-first' ? 1 : config.layout.ensembles
  return Array.from({ length: count }, (_, ensemble) => ensemble)
}

/** Heads that no policy of the study is rewarded by. */
export const calibrationHeads = (config: Sizes, recipe: Recipe): { ensemble: number; head: number }[] =>
  Array.from({ length: config.calibration.ensembles }, (_, i) => config.layout.ensembles + i).flatMap((ensemble) =>
    ensembleHeads(config, recipe, ensemble)
      .slice(0, config.calibration.heads)
      .map((head) => ({ ensemble, head })),
  )

/** Heads trained at a recipe: the study's, and for calibration; `keep-first` exists to be reported and has one ensemble. */
function headCount(config: Sizes, recipe: Recipe): number {
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
  const last = model.info().layers
  const layers = (recipes.includes('layers') && config.heads.layers?.layers) || [last]
  const opened: PairFeatures[] = []
  const cache = async (pairs: TokenPairs) => {
    const features = await cacheLayers(model, pairs, { batchTokens, sharePrefixes, signal, layers })
    opened.push(...features)
    return features
  }
  try {
    const own = await cache(inputs.preferences.train)
    const held = await cache(inputs.preferences.heldOut)
    const features = layers.map((layer, i) => ({
      layer,
      features: own[i] as PairFeatures,
      heldOut: held[i] as PairFeatures,
    }))
    const base = { ...(features.at(-1) as (typeof features)[number]), trainedHead: await model.scoreWeight() }
    const results: Record<string, EnsembleStage> = {}
    for (const recipe of recipes) {
      const heads = headCount(config, recipe)
      const result = isSource(recipe)
        ? await makeSource(stage, recipe, { heads, first: ensembleHeads(config, recipe, 0) }, model, features, context)
        : await makeHeads(stage, recipe, base, model, context)
      results[recipe] = { ensembles: summarise(config, recipe, result), heads }
    }
    return results
  } finally {
    for (const { cache } of opened) await cache.dispose()
    await model.dispose()
  }
}

/** What is told of heads. */
export type TrainedHeads = Pick<HeadsResult, 'steps' | 'lossPerHead' | 'heldOutAccuracyPerHead'>

interface FrozenBase {
  /** The single reward model's head. */
  trainedHead: Float32Array
  features: PairFeatures
  heldOut: PairFeatures
}

async function makeHeads(
  stage: ModelStage,
  recipe: Recipe,
  base: FrozenBase,
  model: NativeModel,
  { folder }: StageContext,
): Promise<TrainedHeads> {
  const result = await trainRecipe(stage, recipe, base)
  await model.setScoreWeight(result.weights, result.heads)
  await saveModel(model, stage.inputs.tokenizers.scorer, path.join(folder, recipe))
  return result
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

function summarise(config: StudyConfig, recipe: Recipe, result: TrainedHeads): EnsembleSummary[] {
  return ensemblesOf(config, recipe).map((ensemble) => {
    const rows = ensembleHeads(config, recipe, ensemble)
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
