/**
 * runs/<name>/summary.json: every number of the report. One schema types it, checks it when it is written and documents it.
 * Variances are sample variances (ddof 1) unless a field says otherwise; intervals are [low, high] at `verdicts.level`.
 */
import * as z from 'zod'
import { PrudentError } from '../errors.js'

const count = z.int().nonnegative()
const probability = z.number().min(0).max(1)

export const METHODS = [
  'vanilla',
  'sigma',
  'sigma-variance',
  'sigma-exact',
  'shuffled',
  'constant',
  'mean',
  'worst',
  'mean-variance',
  'lcb',
] as const
export const RECIPES = ['paper', 'paper-keep-first', 'anchored', 'layers', 'laplace', 'dropout'] as const
export const CENTERS = ['none', 'reference', 'prompt'] as const
export const OUTCOMES = ['holds', 'fails', 'inconclusive', 'not trained'] as const

/**
 * vanilla: beta*KL; sigma: beta*sigma_i*KL (or sigma_i^2, as `objective.power` says); sigma-variance: beta*sigma_i^2*KL; sigma-exact: as sigma, with
 * the whole gradient of E[beta w KL]; shuffled: sigma permuted within the batch; constant: sigma = its mean; mean and worst: over heads;
 * mean-variance: mean - lambda*variance over heads; lcb: r - k*sigma.
 */
export const methodSchema = z.enum(METHODS)
/**
 * How the ten heads came about: the paper's recipe with new heads only, with the trained head kept as head 0, anchored bootstrap heads, heads on
 * several layers, or draws from what sigma is of: a Laplace posterior, a head under dropout.
 */
export const recipeSchema = z.enum(RECIPES)
/** What is subtracted from each head's score before sigma is taken over heads: nothing (the paper), its mean over reference responses, or over the prompt's responses. */
export const centerSchema = z.enum(CENTERS)
export const outcomeSchema = z.enum(OUTCOMES)

export const intervalSchema = z.strictObject({ estimate: z.number(), low: z.number(), high: z.number() })
export const testSchema = z.strictObject({ statistic: z.number(), p: probability })
/** `edges` has one entry more than `counts`; mean and median are of the values themselves. */
export const histogramSchema = z.strictObject({
  edges: z.array(z.number()),
  counts: z.array(count),
  mean: z.number(),
  median: z.number(),
  min: z.number(),
  max: z.number(),
})
/** One value a step: mean and standard deviation over policies. */
export const curveSchema = z.strictObject({ step: z.array(count), mean: z.array(z.number()), std: z.array(z.number()) })
const lossCurve = z.array(z.strictObject({ step: count, loss: z.number() }))

export const languageModelSchema = z.strictObject({
  steps: count,
  tokens: count,
  parameters: count,
  /** Held-out, per token of the model's own tokenizer. */
  perplexity: z.number(),
  bigramPerplexity: z.number(),
  loss: lossCurve,
})

export const rewardModelSchema = z.strictObject({
  steps: count,
  stoppedEarly: z.boolean(),
  heldOutAccuracy: probability,
  /** Accuracy that the known true reward reaches on the same noisy labels. */
  truthAccuracy: probability,
  /** Mean of max(p, 1-p) with p the labels' true probability: what no scorer can beat in expectation. */
  bayesCeiling: probability,
  loss: lossCurve,
})

/** Of a reward model trained in full on its own: steps as planned, no early stop. */
export const independentModelSchema = z.strictObject({
  steps: count,
  heldOutAccuracy: probability,
  finalLoss: z.number(),
})

export const ensembleSchema = z.strictObject({
  recipe: recipeSchema,
  ensemble: count,
  steps: count,
  finalLossPerHead: z.array(z.number()),
  heldOutAccuracyPerHead: z.array(probability),
})

/** How good sigma is, over fresh responses of the reference policy (never those that the comparison uses). */
export const sigmaQualitySchema = z.strictObject({
  recipe: recipeSchema,
  center: centerSchema,
  samples: count,
  mean: z.number(),
  /** Standard deviation of sigma over (x, y) by its mean. */
  cv: z.number(),
  /** Share of sigma's variance that lies within prompts. */
  withinPromptShare: z.number(),
  /** Pearson correlation of sigma with |ensemble mean - true reward|, both centred on their means over the samples. */
  errorCorrelation: z.number(),
  /** Mean sigma of responses in scarce styles by that of responses in common ones. */
  scarceCommonRatio: z.number(),
  histogram: histogramSchema,
})

const checkSchema = z.strictObject({
  name: z.string(),
  value: z.number(),
  /** `value` passes when it is at least (`>=`) or at most (`<=`) `threshold`. */
  rule: z.enum(['>=', '<=']),
  threshold: z.number(),
  passed: z.boolean(),
  /** One sentence for the reader. */
  meaning: z.string(),
})

export const armSchema = z.strictObject({
  /** `<recipe>/<method>` or `<recipe>/<method>/<center>` */
  id: z.string(),
  recipe: recipeSchema,
  method: methodSchema,
  /** null for methods without sigma. */
  center: centerSchema.nullable(),
  beta: z.number(),
  policies: count,
  /** Exact KL to the reference at the end, nats a response, over fresh samples. */
  finalKl: z.strictObject({ mean: z.number(), std: z.number() }),
  proxyGain: z.strictObject({ mean: z.number(), std: z.number() }),
  kl: curveSchema,
  proxyReward: curveSchema,
})

/** Beta moved by the final KL of the compared policies themselves; the reward takes no part in it. */
export const refinementSchema = z.strictObject({
  baseline: z.string(),
  /** Mean final KL of the baseline on the arm's heads. */
  targetKl: z.number(),
  tolerance: z.number(),
  /** How often the arm could be trained again. */
  limit: count,
  matched: z.boolean(),
  /** The first is at the calibrated beta. */
  attempts: z
    .array(
      z.strictObject({
        beta: z.number(),
        kl: z.number(),
        /** Final KL by the baseline's minus 1; interval by bootstrap over heads. */
        difference: intervalSchema,
        matched: z.boolean(),
        /** True for one: the attempt whose policies are compared. */
        used: z.boolean(),
      }),
    )
    .min(1),
})

export const calibrationSchema = z.strictObject({
  arm: z.string(),
  targetKl: z.number(),
  /** Found on the calibration heads; what the arm was compared at is in `arms`. */
  beta: z.number(),
  /** Over the calibration heads: mean of the exact KL and its bootstrap interval. */
  kl: intervalSchema,
  samples: count,
  relativeError: z.number(),
  tolerance: z.number(),
  matched: z.boolean(),
  /** Every beta tried, in order. */
  trials: z.array(z.strictObject({ beta: z.number(), kl: z.number(), policies: count })),
  /** null for a baseline, and in summaries of before there was one. */
  refinement: refinementSchema.nullable().default(null),
})

/** Per policy results; what the aggregates are made of. */
export const policyResultSchema = z.strictObject({
  arm: z.string(),
  ensemble: count,
  head: count,
  trial: count,
  seed: count,
  beta: z.number(),
  finalKl: z.number(),
  proxyGain: z.number(),
  /** Mean true reward and mean judge model score of its responses. */
  truth: z.number(),
  judge: z.number(),
  /** True when its mean true reward is below the reference's on the same prompts. */
  belowReference: z.boolean(),
})

export const judgedSchema = z.strictObject({
  judge: z.enum(['truth', 'model']),
  /** Repeated samples of the reference policy, one mean each. */
  reference: z.strictObject({ means: z.array(z.number()), mean: z.number(), variance: z.number() }),
  arms: z.array(
    z.strictObject({
      arm: z.string(),
      means: z.array(z.number()),
      mean: z.number(),
      variance: z.number(),
      riskBelowReference: probability,
    }),
  ),
})

/** What two groups of policies are compared by, over the heads that both have. */
export const pairedComparison = {
  clusters: count,
  policies: count,
  /** Variance over heads of the policies' means, treatment by baseline: < 1 favours the treatment. Interval by bootstrap over heads. */
  varianceRatio: intervalSchema,
  /** Paired test of equal variances on per-head means. */
  pitmanMorgan: testSchema,
  /** Share of policies below the reference, treatment minus baseline; paired interval by bootstrap over heads. */
  riskDifference: intervalSchema,
  meanDifference: intervalSchema,
}

export const verdictSchema = z.strictObject({
  id: z.string(),
  recipe: recipeSchema,
  center: centerSchema,
  judge: z.enum(['truth', 'model']),
  /** The headline is the one primary verdict. */
  primary: z.boolean(),
  baseline: z.string(),
  treatment: z.string(),
  outcome: outcomeSchema,
  /** Full sentences, in the order the rules were applied. */
  reasons: z.array(z.string()),
  ...pairedComparison,
  /** Final KL, treatment by baseline minus 1. */
  klDifference: intervalSchema.extend({ tolerance: z.number(), matched: z.boolean() }),
  /** On all policies as if they were independent: what the paper did, not a basis of the verdict. */
  asInPaper: z.strictObject({ brownForsythe: testSchema, levene: testSchema }),
})

export const summarySchema = z.strictObject({
  version: z.literal(1),
  name: z.string(),
  seed: z.union([z.int(), z.string()]),
  layout: z.strictObject({ ensembles: count, heads: count, trials: count, description: z.string() }),
  headline: z.strictObject({ outcome: outcomeSchema, sentence: z.string() }),
  data: z.array(
    z.strictObject({
      name: z.string(),
      file: z.string(),
      rows: count,
      used: count,
      dropped: z.record(z.string(), count),
    }),
  ),
  languageModels: z.strictObject({ scorer: languageModelSchema, policy: languageModelSchema }),
  rewardModel: rewardModelSchema,
  judgeModel: rewardModelSchema.extend({ /** Pearson, over reference responses. */ correlationWithTruth: z.number() }),
  ensembles: z.array(ensembleSchema),
  /** Empty where the config asks for none, and in summaries of before there were any. */
  independentModels: z.array(independentModelSchema).default([]),
  /** "Not trained" when one fails. */
  preconditions: z.array(checkSchema),
  /** Whether this world can show the effect at all. */
  gate: z.array(checkSchema),
  sigma: z.array(sigmaQualitySchema),
  calibration: z.array(calibrationSchema),
  arms: z.array(armSchema),
  figures: z.strictObject({
    /** Figure 1: the scores of all heads on one prompt-response pair. */
    oneResponse: z.strictObject({
      prompt: z.string(),
      response: z.string(),
      recipe: recipeSchema,
      scores: z.array(z.number()),
    }),
    /** Figure 6: variance over heads per section, of the accepted response's score and of accepted - rejected. */
    variances: z.array(
      z.strictObject({
        recipe: recipeSchema,
        section: z.string(),
        pairs: count,
        accepted: histogramSchema,
        difference: histogramSchema,
      }),
    ),
    /** Figure 7: distribution of the policies' means, by judge. */
    judged: z.array(judgedSchema),
    /** Figure 9: accuracy per section of each head and of the single reward model. */
    accuracies: z.array(
      z.strictObject({
        recipe: recipeSchema,
        section: z.string(),
        pairs: count,
        heads: z.array(probability),
        single: probability,
      }),
    ),
  }),
  verdicts: z.strictObject({ level: probability, rules: z.array(z.string()), list: z.array(verdictSchema) }),
  policies: z.array(policyResultSchema),
  /** The resolved config as it ran. */
  config: z.unknown(),
  environment: z.strictObject({
    prudent: z.string(),
    node: z.string(),
    libtorch: z.string(),
    cpu: z.string(),
    cores: count,
    lanes: count,
    threadsPerLane: count,
  }),
  /** Seconds of computing per stage; a resumed stage counts what its finished parts took. */
  timings: z.array(z.strictObject({ stage: z.string(), seconds: z.number(), units: count })),
  peakMemoryBytes: count,
})

export type Method = z.infer<typeof methodSchema>
export type Recipe = z.infer<typeof recipeSchema>
export type Center = z.infer<typeof centerSchema>
export type Outcome = z.infer<typeof outcomeSchema>
export type Interval = z.infer<typeof intervalSchema>
export type Histogram = z.infer<typeof histogramSchema>
export type Curve = z.infer<typeof curveSchema>
export type LanguageModelSummary = z.infer<typeof languageModelSchema>
export type RewardModelSummary = z.infer<typeof rewardModelSchema>
export type EnsembleSummary = z.infer<typeof ensembleSchema>
export type IndependentModel = z.infer<typeof independentModelSchema>
export type SigmaQuality = z.infer<typeof sigmaQualitySchema>
export type Check = z.infer<typeof checkSchema>
export type ArmSummary = z.infer<typeof armSchema>
export type CalibrationSummary = z.infer<typeof calibrationSchema>
export type Refinement = z.infer<typeof refinementSchema>
export type PolicyResult = z.infer<typeof policyResultSchema>
export type Verdict = z.infer<typeof verdictSchema>
export type Summary = z.infer<typeof summarySchema>

/** A summary as it is written. @throws E_NON_FINITE naming a number that is none, E_INTERNAL for another shape */
export function checkedSummary<T>(schema: z.ZodType<T>, value: unknown): T {
  const { data, error } = schema.safeParse(value)
  if (error === undefined) return data
  const { path, message } = error.issues[0] as z.core.$ZodIssue
  const code = /received (NaN|-?Infinity)$/.test(message) ? 'E_NON_FINITE' : 'E_INTERNAL'
  throw new PrudentError(code, `summary.json: ${path.map(String).join('.')}: ${message}`, { cause: error })
}
