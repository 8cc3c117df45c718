/** What an experiment costs before it runs: the paper's own, and any study's. */
import { PrudentError } from '../../errors.js'
import type { StudyConfig } from '../config.js'
import { planStudy } from '../plan.js'
import { type Shape, shapeOf } from './shapes.js'

export interface Experiment {
  name: string
  scorer: Shape
  policy: Shape
  judge: Shape
  /** Of a weight while it is used; on disk the paper's weights have 4. */
  bytesPerWeight: { scorer: number; policy: number; judge: number }
  /** Mean lengths: of one side of a pair, of a prompt, of a response, and of what the scorer's chat template adds. */
  tokens: { side: number; prompt: number; response: number; template: number }
  reward: { steps: number; batchSize: number }
  heads: { steps: number; batchSize: number; count: number }
  policies: { count: number; steps: number; batchSize: number; epochs: number }
  judged: { responses: number }
  /** Tokens of one forward and backward in training. */
  batchTokens: number
}

/** Of a chat template around prompt and response. */
export const TEMPLATE_TOKENS = 12

/** @throws E_CONFIG where a model is not described by its architecture */
export function studyExperiment(config: StudyConfig): Experiment {
  const { layout, ppo, rewardModel, calibration, evaluation, prompts, data, models } = config
  const bytes = config.dtype === 'bfloat16' ? 2 : 4
  const main = trainedHeads(config)
  const steps = (settings: { steps?: number | undefined }, where: string): number => {
    if (settings.steps !== undefined) return settings.steps
    throw new PrudentError('E_CONFIG', `${where}.steps: expected a number of steps, received epochs alone`, {
      argument: where,
    })
  }
  return {
    name: config.name,
    scorer: shapeFrom(models.scorer, 'models.scorer'),
    policy: shapeFrom(models.policy, 'models.policy'),
    judge: shapeFrom(models.judge, 'models.judge'),
    bytesPerWeight: { scorer: bytes, policy: bytes, judge: bytes },
    tokens: {
      side: data.maxLength,
      prompt: (prompts.queryTokens.min + prompts.queryTokens.max) / 2,
      response: ppo.sampling.maxNewTokens,
      template: TEMPLATE_TOKENS,
    },
    reward: { steps: steps(rewardModel, 'rewardModel'), batchSize: rewardModel.batchSize },
    heads: {
      steps: steps(main, 'heads'),
      batchSize: main.batchSize,
      count: (layout.ensembles + calibration.ensembles) * layout.heads,
    },
    policies: {
      count: planStudy(config).policies.length,
      steps: steps(ppo, 'ppo'),
      batchSize: ppo.batchSize,
      epochs: ppo.ppoEpochs,
    },
    judged: { responses: evaluation.responses },
    batchTokens: rewardModel.batchTokens,
  }
}

/** Settings of the primary comparison's heads. Laplace takes a few Newton steps over all pairs, whose number is not known before; counted as the paper's. */
function trainedHeads({ comparisons, heads }: StudyConfig): { steps?: number | undefined; batchSize: number } {
  const recipe = comparisons[0]?.recipe
  if (recipe === 'layers' || recipe === 'dropout') return heads[recipe] ?? heads.paper
  return recipe === 'anchored' ? heads.anchored : heads.paper
}

/** The tokenizer fills a vocabulary that the architecture leaves out: a few hundred words at the sizes where that is done. */
const SMALL_VOCABULARY = 512

function shapeFrom(model: object, where: string): Shape {
  const { architecture } = model as { architecture?: Record<string, unknown> }
  if (architecture !== undefined)
    return shapeOf({ vocab_size: SMALL_VOCABULARY, ...architecture }, `${where}.architecture`)
  const expected = 'an architecture, from which sizes follow'
  throw new PrudentError('E_CONFIG', `${where}: expected ${expected}`, { argument: where, expected })
}
