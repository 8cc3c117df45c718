/**
 * Reward models that share nothing but data and settings: each starts from the scorer's language model and is trained in full, with a head and
 * an order of its own, as the caption of the paper's figure 1 has it. None stops early, so the first is also the single model of figure 9.
 */
import path from 'node:path'
import { type ModelStage, trainIndependentModel } from './models.js'
import type { StageStore } from './stages.js'
import type { IndependentModel } from './summary.js'

export interface IndependentStage {
  store: StageStore
  stage: ModelStage
  /** Models at once. */
  width: number
  progress: (done: number, total: number) => void
}

export interface IndependentModels {
  models: IndependentModel[]
  /** One a model. */
  folders: string[]
  key: string
}

/** @param base folder of the language model that all begin from */
export async function makeIndependentModels(
  { store, stage, width, progress }: IndependentStage,
  base: string,
  dependencies: readonly unknown[],
): Promise<IndependentModels> {
  const count = stage.config.independent?.models ?? 0
  if (count === 0) return { models: [], folders: [], key: 'none' }
  const numbers = Array.from({ length: count }, (_, i) => i + 1)
  const folderOf = (stageFolder: string, number: number) => path.join(stageFolder, `model-${number}`)
  const made = await store.sharedStage('independent-models', [dependencies, count], async (context) => {
    const units = numbers.map((number) => ({
      name: `model-${number}`,
      work: () => trainIndependentModel(stage, base, folderOf(context.folder, number), number),
    }))
    return store.units(context, units, { width, signal: stage.signal, progress })
  })
  return {
    models: made.value.map(({ seconds, ...model }) => model),
    folders: numbers.map((number) => path.join(folderOf(made.folder, number), 'model')),
    key: made.key,
  }
}
