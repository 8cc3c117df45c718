/** Configuration of `prudent judge`: policies that exist, judged by any sequence classifier over any prompt set. */
import { z } from 'zod'
import { device, dtype, modelReference, pathText, seed } from '../../config/blocks.js'
import { promptSettings } from '../../policy/prompts.js'
import { responseSampling } from '../../policy/settings.js'

const count = z.int().min(1)

const policy = z.union([
  pathText.transform((path) => ({ path })),
  z.strictObject({
    path: pathText.describe(
      'Model folder or hub id; or a folder of such folders or of run directories, taken in the order of their names',
    ),
    revision: z.string().min(1).optional(),
    head: z
      .union([z.string().min(1), z.int()])
      .optional()
      .describe(
        'Name of the reward model that it was trained on; policies of one head are paired between groups and averaged within one',
      ),
  }),
])
export type PolicyReference = z.output<typeof policy>

export const judgeConfigSchema = z
  .strictObject({
    name: z.string().min(1).default('judge'),
    seed: seed.default(0),
    device: device.default('cpu'),
    dtype: dtype.default('auto'),
    judge: z.strictObject({
      model: modelReference.describe('Sequence classifier; with several outputs their mean is the score'),
      tokenizer: modelReference.optional(),
      maxLength: z.int().min(2).default(1024),
    }),
    reference: modelReference.describe(
      'What the policies were before training; sampled as often as the largest group has policies',
    ),
    tokenizer: modelReference.optional().describe("Of reference and policies; default: the reference's"),
    groups: z
      .array(
        z.strictObject({
          name: z.string().min(1),
          policies: z
            .array(policy)
            .min(1)
            .describe('Without `head`, the i-th policy of a group is paired with the i-th of the others'),
        }),
      )
      .min(1)
      .describe('Methods; the first is the baseline that the others are compared with'),
    prompts: promptSettings,
    responses: count.default(512).describe('A policy; all answer the same prompts'),
    sampling: responseSampling,
    batchTokens: count.default(16384),
    referenceSamples: z.int().min(2).optional().describe('Default: as many as the largest group has policies'),
    level: z.number().gt(0.5).lt(1).default(0.95),
    resamples: count.default(2000),
  })
  .superRefine(({ groups }, context) => {
    const names = groups.map((group) => group.name)
    const twice = names.findIndex((name, i) => names.indexOf(name) !== i)
    if (twice >= 0)
      context.addIssue({
        code: 'custom',
        path: ['groups', twice, 'name'],
        message: 'expected a name that no other group has',
      })
  })
export type JudgeConfig = z.output<typeof judgeConfigSchema>
