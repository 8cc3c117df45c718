/** Configuration of `prudent reproduce` for models that exist: one reward model, its ensemble, policies a method, and their judge. */
import { z } from 'zod'
import { dataReference, dtype, modelReference, pathText, seed } from '../../config/blocks.js'
import { promptSettings } from '../../policy/prompts.js'
import { objectiveSettings, ppoSettings } from '../../policy/settings.js'
import { FEWEST_HEADS, theorySection } from '../../study/config.js'
import { judgeConfigSchema } from '../../study/judge/config.js'
import { ensembleRun, policyRun, rewardRun } from '../train/schemas.js'

const count = z.int().min(1)

/** Its name is that of a folder. */
const methodName = z.string().regex(/^[A-Za-z0-9][\w-]*$/, 'expected letters, digits, - and _')

/** In what methods differ. */
const method = z.strictObject({
  lr: z.number().positive().describe('Learning rate'),
  beta: z.number().min(0).describe('Initial KL coefficient'),
  objective: objectiveSettings,
})

const benchmark = z
  .strictObject({
    data: pathText.describe("allenai/reward-bench's columns: a file, folder or hub id; the split filtered is read"),
    priorSets: pathText.optional().describe("allenai/pref-test-sets's layout: a file, folder or hub id"),
    maxLength: count.default(2048).describe('Longer sides are cut on the left'),
    bootstrap: count.default(1000).describe('Resamples of prompts for the intervals'),
    dtype: dtype.default('auto'),
  })
  .nullable()
  .default(null)
  .describe('RewardBench and the variances over heads (table 1, figures 1, 6 and 9); null leaves them out')

const judge = z.strictObject({
  model: modelReference.describe('Sequence classifier; with several outputs their mean is the score'),
  tokenizer: modelReference.optional(),
  maxLength: z.int().min(2).default(1024),
  prompts: z.strictObject({
    source: dataReference.describe('Texts that no policy was trained on; prompts are cut as those of training are'),
    column: promptSettings.shape.column,
  }),
  responses: judgeConfigSchema.shape.responses,
  batchTokens: judgeConfigSchema.shape.batchTokens,
  dtype: dtype.default('auto'),
})

export const experimentConfig = z
  .strictObject({
    task: z.literal('experiment').default('experiment'),
    name: methodName,
    seed: seed.default(0).describe('Of policies and judge; the reward model and the ensemble have their own'),
    device: z.enum(['cpu', 'cuda']).default('cuda'),
    processes: count
      .optional()
      .describe(
        'That train at once: ranks of the reward model and of the ensemble, then policies side by side. Default: one a GPU; one on the CPU',
      ),
    theory: theorySection.describe('Figures 2 to 5; null leaves them out'),
    reward: rewardRun.omit({ task: true, device: true }),
    ensemble: ensembleRun.omit({ task: true, device: true, model: true, tokenizer: true }),
    benchmark,
    policies: policyRun.omit({ task: true, device: true, ppo: true, scorer: true, valueHeadSeed: true }).extend({
      scorer: policyRun.shape.scorer.omit({ model: true, tokenizer: true, head: true }).prefault({}),
      ppo: ppoSettings
        .omit({ seed: true, objective: true })
        .prefault({})
        .describe('What methods share; theirs are lr, beta and objective'),
      methods: z.record(methodName, method).describe('By name; the first is the baseline'),
      heads: count.describe('Heads of the ensemble that policies are rewarded by, each on its own'),
      trials: count.describe('Policies a head'),
    }),
    judge,
  })
  .superRefine(({ policies, ensemble }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    const methods = Object.keys(policies.methods).length
    if (methods === 0) refuse(['policies', 'methods'], 'expected at least one method')
    if (policies.heads > ensemble.training.heads)
      refuse(['policies', 'heads'], `expected at most ensemble.training.heads (${ensemble.training.heads})`)
    if (methods > 1 && policies.heads < FEWEST_HEADS)
      refuse(['policies', 'heads'], `expected at least ${FEWEST_HEADS}, over which methods can be compared`)
  })
export type ExperimentConfig = z.output<typeof experimentConfig>
