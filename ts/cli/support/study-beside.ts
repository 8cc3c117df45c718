/**
 * What a study's report shows beside its policies: the paper's theory, RewardBench, the variances over heads and the sources of sigma, each made
 * as its own command makes it, in a folder of the run directory, and each a stage of the study.
 */
import path from 'node:path'
import type { StudyConfig } from '../../study/config.js'
import { hashOf, hashOfFile } from '../../study/stages.js'
import type { Accompaniment } from '../../study/study.js'
import { comparisonConfig } from '../../uncertainty/comparison/config.js'
import { runRewardBench } from '../evaluate/reward-bench.js'
import { readBenchData } from '../evaluate/scored.js'
import { makeSources } from '../evaluate/sources.js'
import { runVariance } from '../evaluate/variance.js'
import { makeTheory } from '../theory/make.js'
import type { Session } from './session.js'

export interface BesideOptions {
  config: StudyConfig
  runFolder: string
  session: Session
}

/** What their commands say on the way stands in the report too, so the study only names its stages. */
export function besideStudy(options: BesideOptions): (study: Accompaniment) => Promise<void> {
  const quiet = { ...options, session: { ...options.session, note: () => {} } }
  return async (study) => {
    await theory(quiet, study)
    await evaluations(quiet, study)
    await sources(quiet, study)
  }
}

async function theory({ config, runFolder, session }: BesideOptions, { store }: Accompaniment): Promise<void> {
  if (config.theory === null) return
  const settings = { ...config.theory, seed: config.seed }
  await folderStage(store, { runFolder, name: 'theory', dependencies: settings }, (output) =>
    makeTheory(session, { ...settings, output }),
  )
}

async function evaluations(options: BesideOptions, study: Accompaniment): Promise<void> {
  const { config, runFolder, session } = options
  if (config.evaluate === null) return
  const { lambda, bootstrap, ...benchmark } = config.evaluate
  const { models, store } = study
  const { rows } = await readBenchData(session, benchmark)
  const dependencies = [study.key, study.recipe, hashOf(rows), config.evaluate, config.data.xstest, config.seed]
  const shared = {
    ...benchmark,
    scores: path.join(runFolder, 'models', 'scored'),
    dtype: config.dtype,
    device: config.device,
    batchTokens: config.evaluation.batchTokens,
  }
  const variance = (against: string[]) => (output: string, model: string) =>
    runVariance(session, { ...shared, model: [model], against, bootstrap, seed: config.seed, pair: 0, output })
  const own = models.heads[study.recipe] as string
  const papers = models.heads.paper as string
  await folderStage(store, { runFolder, name: 'rewardbench', dependencies }, (output) =>
    runRewardBench(session, {
      ...shared,
      model: [own],
      single: models.independent[0] ?? models.reward,
      counts: config.data.xstest,
      lambda,
      name: config.name,
      output,
    }),
  )
  await folderStage(store, { runFolder, name: 'variance', dependencies }, (output) =>
    variance(own === papers ? [] : [papers])(output, own),
  )
  if (models.independent.length < 2) return
  await folderStage(store, { runFolder, name: 'variance-independent', dependencies }, (output) =>
    variance(models.independent)(output, papers),
  )
}

async function sources({ config, runFolder, session }: BesideOptions, { store, models, key }: Accompaniment) {
  if (config.sources === null) return
  const { data, dtype, device, seed } = config
  const settings = comparisonConfig.parse({
    ...config.sources,
    ...{ model: models.reward, data: { source: data.preferences, maxLength: data.maxLength }, dtype, device, seed },
  })
  await folderStage(
    store,
    { runFolder, name: 'sources', dependencies: [key, config.sources, data.maxLength] },
    (output) => makeSources(session, settings, output),
  )
}

interface FolderStage {
  runFolder: string
  /** Of the stage and of its folder in the run directory. */
  name: string
  dependencies: unknown
}

/** A stage whose result is a folder with summary.json: done again where that is gone or another command's. */
async function folderStage(
  store: Accompaniment['store'],
  { runFolder, name, dependencies }: FolderStage,
  work: (folder: string) => Promise<unknown>,
): Promise<void> {
  const folder = path.join(runFolder, name)
  const hash = () => hashOfFile(path.join(folder, 'summary.json'))
  await store.stage(
    name,
    dependencies,
    async () => {
      await work(folder)
      return { summary: await hash() }
    },
    { isWhole: async ({ summary }) => summary === (await hash().catch(() => null)) },
  )
}
