/**
 * Recipes whose sigma is a source's: heads on several layers, and sources that know their variance in closed form, from which the heads are drawn
 * that policies are rewarded by. Their models carry the sidecar that every scorer reads sigma from (ts/addon/uncertainty.ts).
 */
import path from 'node:path'
import type { NativeModel } from '../addon/native.js'
import { markUncertainty, saveUncertainty } from '../addon/uncertainty.js'
import { argumentError } from '../errors.js'
import { headMeasures } from '../training/features.js'
import type { HeadsSettings } from '../training/settings.js'
import { fitSource } from '../uncertainty/fit.js'
import { laplaceSource } from '../uncertainty/laplace.js'
import { checkLayers, type LayerFeatures } from '../uncertainty/layers.js'
import { drawHeads, installSource, pickHeads, type UncertaintySource } from '../uncertainty/linear-source.js'
import type { UncertaintySettings } from '../uncertainty/settings.js'
import type { HeadsConfig } from './config.js'
import type { TrainedHeads } from './ensembles.js'
import { type ModelStage, saveModel } from './models.js'
import type { StageContext } from './stages.js'
import type { Recipe } from './summary.js'

const SOURCE_RECIPES = ['layers', 'laplace', 'dropout'] as const
export type SourceRecipe = (typeof SOURCE_RECIPES)[number]

export const isSource = (recipe: Recipe): recipe is SourceRecipe =>
  (SOURCE_RECIPES as readonly Recipe[]).includes(recipe)

/** Folder of a recipe's first ensemble, beside that of all its heads. */
export const firstOf = (recipe: SourceRecipe): string => `${recipe}-first`

/**
 * Fits a source and saves the base with all heads, and with those of the first ensemble, each with its sidecar.
 * @param count of all heads, and the numbers of those of the first ensemble
 * @param model the base; its heads become the source's
 * @param layers of the base, ascending; the last is the base's last layer
 */
export async function makeSource(
  stage: ModelStage,
  recipe: SourceRecipe,
  count: { heads: number; first: readonly number[] },
  model: NativeModel,
  layers: readonly LayerFeatures[],
  { folder }: StageContext,
): Promise<TrainedHeads> {
  const { source, result } = await fitRecipe(stage, recipe, count.heads, layers)
  await saveSource(stage, model, source, path.join(folder, recipe))
  // A layer's heads stand together, the last layer's first.
  const first = [...count.first].sort((a, b) => a - b)
  await saveSource(stage, model, pickHeads(source, first), path.join(folder, firstOf(recipe)))
  return result
}

interface FittedRecipe {
  source: UncertaintySource
  result: TrainedHeads
}

async function fitRecipe(
  stage: ModelStage,
  recipe: SourceRecipe,
  heads: number,
  layers: readonly LayerFeatures[],
): Promise<FittedRecipe> {
  const { config, signal } = stage
  const last = layers.at(-1) as LayerFeatures
  if (recipe === 'laplace') {
    const { priorPrecision, seed } = settingsOf(config.heads, recipe)
    const mode = await laplaceSource(last.features, { priorPrecision, layer: last.layer, signal })
    return drawn(mode, { heads, seed: seed + config.seed, steps: mode.fit.newtonSteps as number }, last, signal)
  }
  const onStep = (metrics: { step: number }, total: number) => stage.progress(metrics.step, total)
  const train = async (uncertainty: UncertaintySettings, own: HeadsSettings, features: readonly LayerFeatures[]) => {
    // As in every recipe, no head is the one that the base was trained with.
    const init = { ...own.init, kind: 'all-new' as const }
    const settings = { ...own, heads, init, seed: own.seed + config.seed }
    const { source, result } = await fitSource({ uncertainty, settings, features, signal, onStep })
    return { source: source as UncertaintySource, result, seed: settings.seed }
  }
  if (recipe === 'layers') {
    const { layers: numbers, ...settings } = settingsOf(config.heads, recipe)
    checkLayers(numbers, last.layer, config.layout.heads)
    return train({ source: 'layers', layers: numbers }, settings, layers)
  }
  const { rate, passes, ...settings } = settingsOf(config.heads, recipe)
  const { source, result, seed } = await train({ source: 'dropout', rate, passes }, settings, [last])
  return drawn(source, { heads, seed, steps: result.steps }, last, signal)
}

function settingsOf<R extends SourceRecipe>(heads: HeadsConfig, recipe: R): NonNullable<HeadsConfig[R]> {
  const settings = heads[recipe]
  if (settings === undefined) throw argumentError('E_CONFIG', `heads.${recipe}`, 'settings of the recipe', 'none')
  return settings
}

/** Heads drawn from a source, and how each does on the pairs. */
async function drawn(
  source: UncertaintySource,
  { heads, seed, steps }: { heads: number; seed: number; steps: number },
  { features, heldOut }: LayerFeatures,
  signal: AbortSignal,
): Promise<FittedRecipe> {
  const all = drawHeads(source, heads, seed)
  const own = await headMeasures(features, all.weights, heads, signal)
  const held = heldOut && (await headMeasures(heldOut, all.weights, heads, signal))
  const result = { steps, lossPerHead: own.loss, heldOutAccuracyPerHead: held?.accuracy ?? null }
  return { source: all, result }
}

async function saveSource(
  { inputs }: ModelStage,
  model: NativeModel,
  source: UncertaintySource,
  folder: string,
): Promise<void> {
  await installSource(model, source)
  await saveModel(model, inputs.tokenizers.scorer, folder)
  await saveUncertainty(model, folder, source)
  await markUncertainty(folder)
}
