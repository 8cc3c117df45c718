/** Configuration of `prudent reproduce`: everything that the study does, and the rules of its verdict, written before the run. */
import { z } from 'zod'
import { dataReference, device, fraction, modelReference, pathText, seed } from '../config/blocks.js'
import { promptSettings } from '../policy/prompts.js'
import { ppoSettings } from '../policy/settings.js'
import { headsSettings, languageModelSettings, rewardSettings } from '../training/settings.js'
import { studySources } from '../uncertainty/comparison/config.js'
import { layersProblem } from '../uncertainty/layers.js'
import { sourceParts } from '../uncertainty/settings.js'
import { centerSchema, methodSchema, recipeSchema } from './summary.js'

const count = z.int().min(1)

/** A model that the study makes itself from random weights. */
const model = z.strictObject({
  tokenizer: modelReference.describe('Folder or hub id with tokenizer.json'),
  architecture: z
    .record(z.string(), z.unknown())
    .describe("The model's config.json; vocab_size and special tokens are the tokenizer's"),
})
const languageModel = model.extend({
  texts: z
    .enum(['plain', 'conversation'])
    .default('plain')
    .describe('plain: a review as it is; conversation: its first words as a chat turn and its answer, then the rest'),
  maxLength: count.default(64),
  training: languageModelSettings,
})
export type ModelConfig = z.output<typeof model>
export type LanguageModelConfig = z.output<typeof languageModel>

const comparison = z.strictObject({
  recipe: recipeSchema,
  center: centerSchema,
  methods: z.array(methodSchema).min(1).describe('What runs beside vanilla'),
  ensembles: count.optional().describe('Fewer ensembles than the layout has'),
})
export type ComparisonConfig = z.output<typeof comparison>

/** A sequence classifier that exists; with several outputs their mean is the score. */
const existingJudge = z.strictObject({
  model: modelReference.describe('Sequence classifier: folder or hub id'),
  tokenizer: modelReference.optional().describe("Default: the model's own"),
})
export type ExistingJudge = z.output<typeof existingJudge>

/** The paper's figures 2 to 5 and its theorems: `prudent theory`. */
export const theorySection = z
  .strictObject({
    draws: count.default(100_000).describe('Reward estimates drawn in each setting'),
    dimension: z.int().min(2).multipleOf(2).default(1000).describe('Responses; even'),
  })
  .nullable()
  .prefault({})

/** Table 1, figures 1, 6 and 9 as `prudent evaluate` makes them. */
const evaluate = z
  .strictObject({
    data: pathText.describe("Parquet or JSON Lines in allenai/reward-bench's columns: a file, folder or hub id"),
    split: z.string().min(1).optional().describe('Split of a folder or hub id; default filtered'),
    dataRevision: z.string().min(1).optional(),
    priorSets: pathText.optional().describe("allenai/pref-test-sets's layout: a file, folder or hub id"),
    lambda: z.number().min(0).default(1).describe('Factor of the lower bound mean - lambda * std'),
    maxLength: count.default(2048).describe('Longer sides are cut on the left'),
    bootstrap: count.default(1000).describe('Resamples of prompts for the intervals'),
  })
  .nullable()
  .default(null)
  .describe('prudent evaluate on the reward models of the study; null leaves it out')

/** By recipe: how the reward heads come about that policies are rewarded by, and their sigma with them. */
const heads = z
  .strictObject({
    paper: headsSettings,
    anchored: headsSettings,
    layers: headsSettings
      .extend(sourceParts.layers)
      .optional()
      .describe('Heads that read different layers; those of an ensemble take turns'),
    laplace: z
      .strictObject({ ...sourceParts.laplace, seed: seed.default(0).describe('Of the draws') })
      .optional()
      .describe("Draws from Laplace's posterior of one head; sigma is the posterior's, in closed form"),
    dropout: headsSettings
      .extend(sourceParts.dropout)
      .optional()
      .describe('One trained head under dropout of its features: draws of it, and their sigma in closed form'),
  })
  .describe('Recipes of heads; layout.heads sets how many')
export type HeadsConfig = z.output<typeof heads>

/** What a paired test of two variances needs: Pitman-Morgan has no degrees of freedom below three pairs. */
export const FEWEST_HEADS = 3

const threshold = z.number()

export const studyConfigSchema = z
  .strictObject({
    name: z.string().min(1).default('laptop'),
    seed,
    device: device.default('cpu'),
    dtype: z.enum(['float32', 'bfloat16']).default('float32'),
    executor: z
      .strictObject({ lanes: z.union([count, z.literal('cores')]).default('cores'), threadsPerLane: count.default(1) })
      .prefault({})
      .describe('Jobs at once on the CPU; policies, and stages that do not need each other, run side by side'),
    scoring: z
      .strictObject({
        maxWaitMs: z.number().min(0).default(2).describe('Longest that scores of one policy wait to share a forward'),
        fixedShapes: z
          .boolean()
          .default(true)
          .describe(
            'A forward holds rows of one policy alone: a run is the same to the last bit whatever runs beside it. Off, policies share forwards, and agree with a run of their own within rounding',
          ),
      })
      .prefault({})
      .describe('Policies that train at the same time share one scorer'),
    data: z.strictObject({
      reviews: dataReference.describe('Texts for language-model training, prompts of PPO'),
      reviewsHeldOut: dataReference.describe('Texts for perplexity, prompts of evaluation'),
      preferences: dataReference,
      judgePreferences: dataReference,
      heldOutPairs: count.default(600),
      rewardBench: z.array(dataReference).min(1).describe('RewardBench-shaped sets, pref-test-sets among them'),
      xstest: z.enum(['fixed', 'legacy']).default('fixed').describe('RewardBench weights of the two XSTest subsets'),
      trueReward: pathText.describe('true-reward.json of the sample world'),
      maxLength: count.default(64).describe('Tokens of a conversation'),
    }),
    models: z.strictObject({ scorer: languageModel, policy: languageModel, judge: z.union([existingJudge, model]) }),
    rewardModel: rewardSettings,
    judgeModel: rewardSettings,
    heads,
    layout: z
      .strictObject({ ensembles: count, heads: z.int().min(2), trials: count })
      .describe('4 x 10 x 1: every policy has a reward head of its own; 1 x 10 x 4 is the paper'),
    comparisons: z.array(comparison).min(1).describe('The first is the primary one'),
    prompts: promptSettings
      .omit({ source: true, column: true, seed: true })
      .prefault({ queryTokens: { min: 2, max: 7, inclusive: true } }),
    ppo: ppoSettings
      .omit({ seed: true, objective: true })
      .describe('Objective, seed and beta come from plan and calibration'),
    objective: z
      .strictObject({
        klGradient: z.enum(['reward', 'exact']).default('reward'),
        power: z.enum(['std', 'variance']).default('std'),
        lcbK: z.number().min(0).default(1),
        varianceLambda: z.number().min(0).default(1).describe('Of mean-variance'),
        sigmaUnit: z
          .enum(['ensemble', 'none'])
          .default('ensemble')
          .describe(
            "ensemble: beta counts in the ensemble's mean sigma over reference responses, which is what tuning beta for each ensemble comes to; none: one beta for all",
          ),
      })
      .prefault({}),
    theory: theorySection.describe('prudent theory beside the study; null leaves it out'),
    evaluate,
    sources: studySources
      .nullable()
      .default(null)
      .describe(
        'prudent evaluate sources on the single reward model and the preferences of the study; null leaves it out',
      ),
    independent: z
      .strictObject({ models: z.int().min(1).default(10) })
      .nullable()
      .default(null)
      .describe(
        "Reward models trained in full on their own, each with its own seed and without early stop: figure 1's caption, and the single model of figure 9; null leaves them out",
      ),
    calibration: z.strictObject({
      targetKl: z.number().positive().describe('Nats a response, exact over the vocabulary'),
      ensembles: count.default(4).describe('Ensembles for calibration alone, as large as those of the study'),
      heads: count.describe('Heads of each of them that calibration policies are rewarded by'),
      samples: z.int().min(1).default(1024).describe('Fresh responses for one mean of KL'),
      tolerance: fraction.default(0.03).describe('Relative'),
      firstBeta: z.number().positive().default(0.3),
      maxTrials: z.int().min(2).default(8),
      refinements: z
        .int()
        .min(0)
        .default(2)
        .describe(
          "How often an arm may be trained again at a beta moved by its own final KL, until its mean is within verdict.klTolerance of the baseline's; 0: never",
        ),
    }),
    evaluation: z.strictObject({
      responses: z.int().min(2).describe('A policy; all policies answer the same prompts'),
      referenceSamples: z
        .int()
        .min(2)
        .optional()
        .describe('Repeated evaluations of the reference policy; default: as many as a method has policies'),
      gateSamples: z.int().min(2).default(2048),
      batchTokens: count.default(16384),
    }),
    preconditions: z
      .strictObject({
        accuracyBelowCeiling: threshold.default(0.05),
        minProxyGain: threshold.default(1).describe('Standard deviations of the reference'),
        minFinalKl: threshold.default(1),
      })
      .prefault({}),
    gate: z
      .strictObject({
        minCv: threshold.default(0.4),
        minScarceCommonRatio: threshold.default(2),
        minErrorCorrelation: threshold.default(0.25),
      })
      .prefault({}),
    verdict: z
      .strictObject({
        level: z.number().gt(0.5).lt(1).default(0.95),
        resamples: count.default(2000),
        holdsBelow: z
          .number()
          .positive()
          .default(1)
          .describe('Holds when the interval of the variance ratio lies below this'),
        failsAbove: z
          .number()
          .positive()
          .default(0.8)
          .describe('Fails when it lies above this: a reduction worth having is excluded'),
        maxRiskIncrease: z
          .number()
          .min(0)
          .default(0)
          .describe('Largest estimate of the risk difference that still holds'),
        klTolerance: fraction.default(0.03).describe('Final KL of treatment and baseline must agree this well'),
      })
      .prefault({}),
  })
  .superRefine(({ layout, comparisons, heads, models }, context) => {
    const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
    for (const [i, { recipe, ensembles = layout.ensembles }] of comparisons.entries()) {
      const count = Math.min(ensembles, layout.ensembles) * layout.heads
      if (count < FEWEST_HEADS)
        refuse(
          ['comparisons', i],
          `expected at least ${FEWEST_HEADS} reward heads (ensembles x layout.heads), of which variances can be compared; there are ${count}`,
        )
      const known = Object.keys(heads).join(', ')
      if (!(recipe in heads))
        refuse(
          ['comparisons', i, 'recipe'],
          recipe === 'paper-keep-first'
            ? `expected one of ${known}: paper-keep-first is reported alone, no heads of it are kept for calibration`
            : `expected a recipe whose settings stand under heads (${known}), received ${recipe}: say heads.${recipe}`,
        )
    }
    const { architecture } = models.scorer
    const count = architecture.num_hidden_layers ?? architecture.n_layer
    // An architecture that does not say is refused when the model is made.
    if (heads.layers === undefined || typeof count !== 'number') return
    const problem = layersProblem(heads.layers.layers, count, layout.heads)
    if (problem === null) return
    if (problem.of === 'heads') refuse(['layout', 'heads'], `expected ${problem.expected} in heads.layers.layers`)
    else refuse(['heads', 'layers', 'layers'], `expected ${problem.expected} of models.scorer`)
  })
export type StudyConfig = z.output<typeof studyConfigSchema>
