import { z } from 'zod'
import { schedule, seed, sharePrefixes } from '../config/blocks.js'
import { activations, optimiserState, shardOptimiser, updateInBackward } from '../training/settings.js'

/** Adam as classic TRL sets it up: no weight decay, no clipping. */
export const ppoOptimiser = z
  .strictObject({
    lr: z.number().positive().default(1.41e-5),
    beta1: z.number().min(0).lt(1).default(0.9),
    beta2: z.number().min(0).lt(1).default(0.999),
    eps: z.number().positive().default(1e-8),
    weightDecay: z.number().min(0).default(0),
    maxGradNorm: z.number().min(0).default(0).describe('Clip the global gradient norm; 0 is off'),
  })
  .prefault({})

/** Weight of the KL term: fixed, or classic TRL's adaptive controller. */
export const klControl = z
  .strictObject({
    initial: z.number().min(0).default(0.2).describe('beta: the KL coefficient at the first step'),
    adaptive: z.boolean().default(false),
    target: z.number().positive().default(6).describe('Target of the adaptive controller, nats a response'),
    horizon: z.number().positive().default(10000).describe('Of the adaptive controller, in responses'),
    estimator: z
      .enum(['kl', 'abs', 'mse', 'full', 'k3'])
      .default('kl')
      .describe(
        'Per-token KL inside the reward, of d = ln pi - ln pi0 at the token drawn: kl is d (k1), abs |d|, mse d^2 / 2 (k2), k3 e^-d - 1 + d, full the sum over the vocabulary',
      ),
  })
  .prefault({})
export type KlControlSettings = z.output<typeof klControl>

/** What becomes of scores before they are a reward, in classic TRL's order: scale, normalise, clip. */
export const scoreShaping = z
  .strictObject({
    scale: z.boolean().default(false).describe('Divide by the running standard deviation'),
    normalise: z.boolean().default(false).describe('Also subtract the running mean; needs scale'),
    clip: z.number().positive().optional().describe('Clip to [-clip, clip]'),
  })
  .prefault({})
export type ScoreShaping = z.output<typeof scoreShaping>

/** Disagreement of heads on one response. */
export const sigmaSettings = z
  .strictObject({
    power: z.enum(['std', 'variance']).default('std').describe('sigma (section 5) or sigma^2 (theorem 3.6) over heads'),
    ddof: z
      .union([z.literal(0), z.literal(1)])
      .default(1)
      .describe('Divisor of the variance over heads: heads - ddof'),
    center: z
      .enum(['none', 'reference', 'prompt'])
      .default('none')
      .describe(
        'Subtracted from each head first: nothing (the paper), its mean over reference responses, or over those of the same prompt',
      ),
    shuffle: z.boolean().default(false).describe('Control: permute sigma within each batch'),
    constant: z.number().min(0).optional().describe('Control: this value in place of sigma'),
  })
  .prefault({})
export type SigmaSettings = z.output<typeof sigmaSettings>

const klGradient = z
  .enum(['reward', 'exact'])
  .default('reward')
  .describe(
    'reward: KL inside the reward alone (the paper); exact: the score also loses beta * w_i, the gradient of E[beta w ln(pi/pi0)]',
  )

/** What a policy is rewarded for and how its KL is weighted. */
export const objectiveSettings = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('vanilla'), klGradient }).describe('r - beta * KL'),
    z
      .strictObject({ kind: z.literal('variance-kl'), sigma: sigmaSettings, klGradient })
      .describe('r - beta * sigma * KL'),
    z
      .strictObject({ kind: z.literal('lcb'), k: z.number().min(0), sigma: sigmaSettings, klGradient })
      .describe('r - k * sigma - beta * KL'),
    z.strictObject({ kind: z.literal('mean'), klGradient }).describe('mean over heads - beta * KL'),
    z.strictObject({ kind: z.literal('worst'), klGradient }).describe('minimum over heads - beta * KL'),
    z
      .strictObject({ kind: z.literal('mean-variance'), lambda: z.number().min(0), sigma: sigmaSettings, klGradient })
      .describe('mean over heads - lambda * variance over heads - beta * KL'),
  ])
  .prefault({ kind: 'vanilla' })
export type ObjectiveSettings = z.output<typeof objectiveSettings>
/** The same as one writes it. */
export type ObjectiveOptions = z.input<typeof objectiveSettings>

/** How responses are drawn; classic TRL: no top-k, no top-p, temperature 1. */
export const responseSampling = z
  .strictObject({
    maxNewTokens: z.int().min(1).default(10),
    minNewTokens: z.int().min(0).default(0),
    temperature: z.number().positive().default(1),
    topK: z.int().min(0).default(0).describe('0 keeps all'),
    topP: z.number().positive().max(1).default(1),
    stopAtEos: z.boolean().default(true).describe('End a response after its first EOS, which is kept'),
  })
  .prefault({})
export type ResponseSampling = z.output<typeof responseSampling>

/** PPO; every default is classic TRL's (0.8 to 0.11). */
export const ppoSettings = z.strictObject({
  batchSize: z.int().min(1).default(128).describe('Responses of one PPO step'),
  miniBatchSize: z.int().min(1).default(128).describe('Responses of one optimiser update'),
  ppoEpochs: z.int().min(1).default(4),
  epochs: z.int().min(1).default(1).describe('Passes over the prompts; an incomplete last batch is left out'),
  steps: z.int().min(1).optional().describe('PPO steps; replaces epochs'),
  optimiser: ppoOptimiser,
  schedule: schedule.prefault({ shape: 'constant' }),
  kl: klControl,
  objective: objectiveSettings,
  score: scoreShaping,
  sampling: responseSampling,
  gamma: z.number().min(0).max(1).default(1),
  lambda: z.number().min(0).max(1).default(0.95),
  clipRange: z.number().positive().default(0.2),
  clipRangeValue: z.number().positive().default(0.2),
  vfCoef: z.number().min(0).default(0.1),
  ratioThreshold: z.number().positive().default(10),
  whitenAdvantages: z.boolean().default(true),
  whitenRewards: z.boolean().default(false),
  earlyStopping: z.boolean().default(false).describe('Skip the epochs left in a step when policykl > 1.5 * targetKl'),
  targetKl: z.number().positive().default(1),
  batchTokens: z.int().min(1).default(16384).describe('Tokens of one forward'),
  oldLogprobs: z
    .enum(['forward', 'sampling'])
    .default('forward')
    .describe(
      'Where old log-probs and values come from: a forward over the finished responses (classic TRL), or the sampling itself, which saves that forward and agrees with it within rounding (ppo/policy/first_ratio_error); sampling needs minNewTokens 0',
    ),
  shareForward: z
    .boolean()
    .default(true)
    .describe(
      "Where batchSize <= miniBatchSize and one forward holds all rows, the forward that old log-probs come from is the first update's too: the same numbers bit by bit, one forward less, its activations held until then",
    ),
  sharePrefixes,
  optimiserState,
  shardOptimiser,
  updateInBackward,
  ...activations,
  seed: seed.default(0),
})
export type PpoSettings = z.output<typeof ppoSettings>

/** The paper's PPO runs: table 6 (vanilla) and table 7 (variance-aware). */
export const PPO_PRESETS = {
  'paper-vanilla': {
    batchSize: 128,
    steps: 192,
    optimiser: { lr: 1.414e-5 },
    kl: { initial: 0.2 },
    objective: { kind: 'vanilla' },
  },
  'paper-variance-aware': {
    batchSize: 128,
    steps: 192,
    optimiser: { lr: 1.5e-5 },
    kl: { initial: 0.05 },
    objective: { kind: 'variance-kl' },
  },
} as const satisfies Record<string, z.input<typeof ppoSettings>>
