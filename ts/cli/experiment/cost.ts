/** Sizes of an experiment on models that exist, for `prudent plan`: nothing is downloaded for them. */
import { join } from 'node:path'
import type { ModelReference } from '../../config/blocks.js'
import { resolveModel } from '../../data/model-files.js'
import { readJsonFile } from '../../data/tokenizer-files.js'
import { PrudentError } from '../../errors.js'
import { type Experiment, TEMPLATE_TOKENS } from '../../study/cost/experiment.js'
import { KNOWN_MODELS } from '../../study/cost/known-models.js'
import { type Shape, shapeOf } from '../../study/cost/shapes.js'
import type { ExperimentConfig } from './config.js'

/** In place of `batchTokens: auto`, which is known when memory is. */
const PLANNED_BATCH_TOKENS = 8192

export interface Unwritten {
  /** Mean tokens of one side of a pair, which no configuration knows. */
  side: number
  signal: AbortSignal
}

/** @throws E_CONFIG where a number of steps is not written, E_OFFLINE where the sizes of a model are not known here */
export async function experimentCost(config: ExperimentConfig, { side, signal }: Unwritten): Promise<Experiment> {
  const { reward, ensemble, policies, judge } = config
  const { ppo, prompts, methods, heads, trials } = policies
  const bytes = (dtype: string) => (dtype === 'bfloat16' || (dtype === 'auto' && config.device === 'cuda') ? 2 : 4)
  return {
    name: config.name,
    scorer: await modelShape(reward.model, 'reward.model', signal),
    policy: await modelShape(policies.model, 'policies.model', signal),
    judge: await modelShape(judge.model, 'judge.model', signal),
    bytesPerWeight: {
      scorer: bytes(reward.dtype),
      policy: bytes(policies.dtype),
      judge: bytes(judge.dtype),
    },
    tokens: {
      side: Math.min(side, reward.data.maxLength),
      prompt: (prompts.queryTokens.min + prompts.queryTokens.max) / 2,
      response: ppo.sampling.maxNewTokens,
      template: TEMPLATE_TOKENS,
    },
    reward: { steps: steps(reward.training, 'reward.training'), batchSize: reward.training.batchSize },
    heads: {
      steps: steps(ensemble.training, 'ensemble.training'),
      batchSize: ensemble.training.batchSize,
      count: ensemble.training.heads,
    },
    policies: {
      count: Object.keys(methods).length * heads * trials,
      steps: steps(ppo, 'policies.ppo'),
      batchSize: ppo.batchSize,
      epochs: ppo.ppoEpochs,
    },
    judged: { responses: judge.responses },
    batchTokens: reward.training.batchTokens === 'auto' ? PLANNED_BATCH_TOKENS : reward.training.batchTokens,
  }
}

function steps(settings: { steps?: number | undefined }, where: string): number {
  if (settings.steps !== undefined) return settings.steps
  const message = `${where}.steps: expected a number of steps, received epochs alone: rows are counted when the data are read`
  throw new PrudentError('E_CONFIG', message, { argument: `${where}.steps` })
}

/** From a folder's or the cache's config.json, else from the table of known models. */
export async function modelShape(reference: ModelReference, where: string, signal: AbortSignal): Promise<Shape> {
  const found = await resolveModel(reference, { signal, offline: true }).catch((error) => {
    if (error instanceof PrudentError && error.code === 'E_OFFLINE') return null
    throw error
  })
  const config = found === null ? null : await readJsonFile(join(found.folder, 'config.json'))
  const known = config ?? KNOWN_MODELS[reference.path]
  if (known !== undefined) return shapeOf(known, where)
  const message = `${where}: ${reference.path}: its sizes are not known without config.json: "prudent download ${reference.path}" fetches it`
  throw new PrudentError('E_OFFLINE', message, { argument: where, received: reference.path })
}
