/** summary.json of `prudent judge`. Variances are sample variances (ddof 1). */
import * as z from 'zod'
import { intervalSchema, pairedComparison, testSchema } from '../summary.js'

const count = z.int().nonnegative()
const probability = z.number().min(0).max(1)
const distribution = { mean: z.number(), variance: z.number() }

export const judgeSummarySchema = z.strictObject({
  kind: z.literal('judge'),
  version: z.literal(1),
  name: z.string(),
  seed: z.number(),
  judge: z.strictObject({ model: z.string(), heads: count }),
  prompts: z.strictObject({ source: z.string(), used: count, responses: count }),
  /** One mean a repeated sample, on the prompts that the policies answer. */
  reference: z.strictObject({ model: z.string(), means: z.array(z.number()), ...distribution }),
  groups: z.array(
    z.strictObject({
      name: z.string(),
      policies: z.array(
        z.strictObject({
          model: z.string(),
          head: z.string(),
          /** Mean score of its responses. */
          mean: z.number(),
          /** Exact KL to the reference, nats a response. */
          kl: z.number(),
          belowReference: z.boolean(),
        }),
      ),
      ...distribution,
      riskBelowReference: probability,
      finalKl: z.strictObject({ mean: z.number(), std: z.number() }),
    }),
  ),
  /** Every other group against the first, over the heads that both have. */
  comparisons: z.array(
    z.strictObject({
      baseline: z.string(),
      treatment: z.string(),
      ...pairedComparison,
      /** Final KL, treatment by baseline minus 1; null where the baseline is the reference itself, whose KL is 0. */
      klDifference: intervalSchema.nullable(),
      asInPaper: z.strictObject({ brownForsythe: testSchema, levene: testSchema }),
    }),
  ),
  level: probability,
  config: z.unknown(),
})
export type JudgeSummary = z.infer<typeof judgeSummarySchema>
