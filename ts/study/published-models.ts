/**
 * models/ of the run directory: the study's reward models under plain names, each a folder that transformers and every other command loads.
 * What a stage already holds in that form is a link to it.
 */
import { rename, rm, stat, symlink } from 'node:fs/promises'
import path from 'node:path'
import { makeFolder } from '../run/folders.js'
import { ensembleHeads } from './ensembles.js'
import { type ModelStage, saveModel } from './models.js'
import { firstOf, isSource } from './source-recipes.js'
import type { StageResult, StageStore } from './stages.js'
import type { Recipe } from './summary.js'

export interface PublishedModels {
  /** The single reward model that the heads were put on. */
  reward: string
  /** First ensemble of a recipe, as many heads as the layout has. */
  heads: Partial<Record<Recipe, string>>
  /** Trained in full, each on its own; empty where the config asks for none. */
  independent: string[]
}

export interface ModelSources {
  reward: StageResult<unknown>
  /** Holds a model a recipe. */
  ensembles: StageResult<unknown>
  /** Folders of models. */
  independent: { key: string; folders: readonly string[] }
}

/** `models/reward`, `models/heads-anchored`, `models/independent-3`. */
export async function publishModels(
  store: StageStore,
  stage: ModelStage,
  runFolder: string,
  recipes: readonly Recipe[],
  sources: ModelSources,
): Promise<{ models: PublishedModels; key: string }> {
  const { reward, ensembles, independent } = sources
  const folder = path.join(runFolder, 'models')
  const at = (name: string) => path.join(folder, name)
  const models: PublishedModels = {
    reward: at('reward'),
    heads: Object.fromEntries(recipes.map((recipe) => [recipe, at(`heads-${recipe}`)])),
    independent: independent.folders.map((_, i) => at(`independent-${i + 1}`)),
  }
  const publish = async () => {
    await makeFolder(folder)
    await linkFolder(path.join(reward.folder, 'model'), models.reward)
    for (const [i, target] of independent.folders.entries()) await linkFolder(target, models.independent[i] as string)
    for (const recipe of recipes) {
      const name = models.heads[recipe] as string
      if (isSource(recipe)) await linkFolder(path.join(ensembles.folder, firstOf(recipe)), name)
      else await writeFirstEnsemble(stage, recipe, path.join(ensembles.folder, recipe), name)
    }
    return { recipes }
  }
  const dependencies = [reward.key, ensembles.key, independent.key, recipes, stage.config.layout.heads]
  const { key } = await store.stage('models', dependencies, publish, { isWhole: () => everyModelIsThere(models) })
  return { models, key }
}

async function everyModelIsThere({ reward, heads, independent }: PublishedModels): Promise<boolean> {
  const folders = [reward, ...Object.values(heads), ...independent]
  const found = await Promise.all(folders.map((folder) => stat(path.join(folder, 'config.json')).catch(() => null)))
  return found.every((info) => info !== null)
}

/** A relative link, so that a run directory may be moved. */
async function linkFolder(target: string, name: string): Promise<void> {
  const made = beside(name)
  await rm(made, { recursive: true, force: true })
  await symlink(path.relative(path.dirname(name), target), made, 'dir')
  await replace(made, name)
}

async function writeFirstEnsemble(stage: ModelStage, recipe: Recipe, source: string, name: string): Promise<void> {
  const { addon, config, inputs } = stage
  const { dtype, device } = config
  const model = await addon.loadModel(source, { task: 'sequence-classification', dtype, device })
  const made = beside(name)
  try {
    const weight = await model.scoreWeight()
    const { numLabels } = model.info()
    const heads = ensembleHeads(config, recipe, 0)
    const width = weight.length / numLabels
    await model.setScoreWeight(weight.slice(0, heads.length * width), heads.length)
    await rm(made, { recursive: true, force: true })
    await saveModel(model, inputs.tokenizers.scorer, made)
  } finally {
    await model.dispose()
  }
  await replace(made, name)
}

const beside = (name: string): string => path.join(path.dirname(name), `.${path.basename(name)}.partial`)

/** A folder cannot be renamed over one that holds something; what lies between the two calls is made again by the next run. */
async function replace(made: string, name: string): Promise<void> {
  await rm(name, { recursive: true, force: true })
  await rename(made, name)
}
