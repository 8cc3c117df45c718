/** FLOPs, tokens and memory of an experiment's stages, and what its reward models take on disk. */
import type { Experiment } from './experiment.js'
import { baseParameters, checkpointedActivations, forwardFlops, type Shape } from './shapes.js'

export interface StageCost {
  stage: string
  /** Read by the model that is trained or asked. */
  tokens: number
  flops: number
  memory: {
    /** Weights of every model that must be there, and gradients of the one that is trained. */
    weights: number
    /** fp32 moments, and fp32 master weights of bf16 ones; may be paged to the host. */
    optimiser: number
    activations: number
  }
}

export interface StorageRow {
  what: string
  /** By bytes of a weight. */
  float32: number
  bfloat16: number
}

export function stageCosts(experiment: Experiment): StageCost[] {
  const { policies } = experiment
  const one = policyCost(experiment)
  return [
    rewardCost(experiment),
    headsCost(experiment),
    { ...one, stage: 'one policy' },
    {
      ...one,
      stage: `${policies.count} policies`,
      tokens: one.tokens * policies.count,
      flops: one.flops * policies.count,
    },
    judgeCost(experiment),
  ]
}

/** Of `sides` texts of `length` tokens: a backward costs twice the forward; activation checkpointing runs the forward once more. */
export const rewardFlops = (scorer: Shape, sides: number, length: number): number =>
  4 * forwardFlops(scorer, sides, length)

/** Of one step of PPO. */
export function policyStepFlops({ policy, scorer, policies, tokens }: PolicyStep): number {
  const { batchSize, epochs } = policies
  const length = tokens.prompt + tokens.response
  // Generation, old log-probs and the reference read it once each; an update costs three forwards.
  const own = forwardFlops(policy, batchSize, length, tokens.response) * (3 + 3 * epochs)
  return own + forwardFlops(scorer, batchSize, length + tokens.template)
}

interface PolicyStep extends Pick<Experiment, 'policy' | 'scorer'> {
  policies: Pick<Experiment['policies'], 'batchSize' | 'epochs'>
  tokens: Omit<Experiment['tokens'], 'side'>
}

/** Moments in fp32; bf16 weights have an fp32 master beside them. */
const optimiserBytes = (parameters: number, bytes: number): number => parameters * (8 + (bytes === 2 ? 4 : 0))

function rewardCost({ scorer, reward, tokens, bytesPerWeight, batchTokens }: Experiment): StageCost {
  const sides = 2 * reward.steps * reward.batchSize
  const bytes = bytesPerWeight.scorer
  const parameters = baseParameters(scorer) + scorer.hidden
  return {
    stage: 'single reward model',
    tokens: sides * tokens.side,
    flops: rewardFlops(scorer, sides, tokens.side),
    memory: {
      weights: 2 * parameters * bytes,
      optimiser: optimiserBytes(parameters, bytes),
      activations: checkpointedActivations(scorer, batchTokens, bytes),
    },
  }
}

/** The base is frozen: one forward a pair gives the features that all heads learn from, however often they read them. */
function headsCost({ scorer, heads, reward, tokens, bytesPerWeight, batchTokens }: Experiment): StageCost {
  const read = 2 * heads.steps * heads.batchSize
  // Heads learn from the pairs that the single model has seen, so there are no more of them than that.
  const sides = Math.min(read, 2 * reward.steps * reward.batchSize)
  const head = heads.count * scorer.hidden
  return {
    stage: `${heads.count} heads on a frozen base`,
    tokens: sides * tokens.side,
    flops: forwardFlops(scorer, sides, tokens.side) + 6 * read * head,
    memory: {
      weights: (baseParameters(scorer) + 2 * head) * bytesPerWeight.scorer,
      optimiser: optimiserBytes(head, 4),
      activations: batchTokens * bytesPerWeight.scorer * (8 * scorer.hidden + 3 * scorer.intermediate),
    },
  }
}

function policyCost(experiment: Experiment): StageCost {
  const { policy, scorer, policies, tokens, bytesPerWeight } = experiment
  const { steps, batchSize } = policies
  const length = tokens.prompt + tokens.response
  const parameters = baseParameters(policy)
  const bytes = bytesPerWeight.policy
  return {
    stage: 'policy',
    tokens: steps * batchSize * length,
    flops: steps * policyStepFlops(experiment),
    memory: {
      weights: 3 * parameters * bytes + baseParameters(scorer) * bytesPerWeight.scorer,
      optimiser: optimiserBytes(parameters, bytes),
      activations:
        batchSize * length * bytes * policy.layers * (8 * policy.hidden + 3 * policy.intermediate) +
        batchSize * tokens.response * bytes * policy.vocabulary,
    },
  }
}

function judgeCost({ judge, policies, judged, tokens, bytesPerWeight, batchTokens }: Experiment): StageCost {
  const length = tokens.prompt + tokens.response + tokens.template
  const texts = policies.count * judged.responses
  return {
    stage: 'judging the policies',
    tokens: texts * length,
    flops: forwardFlops(judge, texts, length),
    memory: {
      weights: baseParameters(judge) * bytesPerWeight.judge,
      optimiser: 0,
      activations: batchTokens * bytesPerWeight.judge * (8 * judge.hidden + 3 * judge.intermediate),
    },
  }
}

/** Section 4: ten models trained independently against ten heads that share a base. */
export function storageRows({ scorer }: Pick<Experiment, 'scorer'>, heads = 10): StorageRow[] {
  const base = baseParameters(scorer)
  const row = (what: string, parameters: number): StorageRow => ({
    what,
    float32: 4 * parameters,
    bfloat16: 2 * parameters,
  })
  return [
    row(`${heads} reward models, each whole`, heads * (base + scorer.hidden)),
    row(`one base with ${heads} heads`, base + heads * scorer.hidden),
  ]
}
