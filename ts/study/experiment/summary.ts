/** summary.json of `prudent reproduce` on models that exist. What judge and benchmark found is in the summaries of their own folders. */
import * as z from 'zod'
import { curveSchema } from '../summary.js'

const count = z.int().nonnegative()
const spread = z.strictObject({ mean: z.number(), std: z.number() })
const lossCurve = z.array(z.strictObject({ step: count, loss: z.number() }))

export const experimentSummarySchema = z.strictObject({
  kind: z.literal('experiment'),
  version: z.literal(1),
  name: z.string(),
  seed: z.number(),
  /** Figure 8. Accuracies are null where nothing was held out. */
  reward: z.strictObject({ steps: count, heldOutAccuracy: z.number().nullable(), loss: lossCurve }),
  ensemble: z.strictObject({
    steps: count,
    lossPerHead: z.array(z.number()),
    heldOutAccuracyPerHead: z.array(z.number()).nullable(),
    loss: lossCurve,
  }),
  /** Figures 10 and 11; the first is the baseline. */
  methods: z
    .array(
      z.strictObject({
        name: z.string(),
        lr: z.number(),
        beta: z.number(),
        policies: count,
        /** Over policies: KL of the last step's responses, nats, by the estimator of training. */
        lastKl: spread,
        /** Over policies: reward of the last step less that of the first, in the unit of the policy's own head. */
        proxyGain: spread,
        kl: curveSchema,
        proxyReward: curveSchema,
      }),
    )
    .min(1),
  /** Wall clock of every command; those of policies that ran side by side overlap. */
  commands: z.array(z.strictObject({ name: z.string(), seconds: z.number() })),
  environment: z.strictObject({
    prudent: z.string(),
    node: z.string(),
    devices: z.array(z.string()),
    processes: count,
  }),
  config: z.unknown(),
})
export type ExperimentSummary = z.infer<typeof experimentSummarySchema>
