import { z } from 'zod'
import {
  device,
  dtype,
  modelReference,
  pathText,
  preferenceData,
  seed,
  sharePrefixes,
  textData,
} from '../../config/blocks.js'
import { promptSettings } from '../../policy/prompts.js'
import { ppoSettings } from '../../policy/settings.js'
import {
  checkpointSettings,
  headsSettings,
  heldOutSettings,
  languageModelSettings,
  rewardSettings,
} from '../../training/settings.js'
import { expectedSource, uncertaintySettings } from '../../uncertainty/settings.js'

const mlflow = z.strictObject({
  uri: z
    .url({ protocol: /^https?$/ })
    .refine(
      (text) => new URL(text).username === '',
      'expected no name or password in it; set MLFLOW_TRACKING_USERNAME and _PASSWORD',
    )
    .describe('Of the server, http://localhost:5000 say'),
  experiment: z.string().min(1).default('prudent').describe('Made where there is none of the name'),
  runName: z.string().min(1).optional().describe("Default: the run directory's name"),
})

/** Where metrics go beside metrics.jsonl and TensorBoard. */
const tracking = z.strictObject({ mlflow: mlflow.optional() }).optional()
export type Tracking = z.output<typeof tracking>

/** Configurations of `prudent train`. `task` may be left out; config.yaml of a run names it. */

const common = {
  saving: checkpointSettings,
  dtype: dtype.default('auto'),
  device: device.default('cpu'),
  tokenizer: modelReference.optional().describe("Folder or hub id of the tokenizer; default: the model's own"),
  tracking,
}

/** Of full fine-tunes: a micro-batch may be left to the memory that is free. */
const batchTokens = (byDefault: number) =>
  z
    .union([z.int().min(1), z.literal('auto')])
    .default(byDefault)
    .describe(
      'Tokens of one forward and backward; gradients add up over them. auto: what free memory has room for, at most 8192 on the CPU and 32768 on a GPU, noted at the start; a run that goes on keeps its number',
    )

/** A model of random weights. */
const newModel = z.strictObject({
  config: pathText.describe('config.json of the architecture'),
  seed: seed.default(0).describe('Of the weights'),
})

export const languageModelRun = z.strictObject({
  task: z.literal('language-model').default('language-model'),
  model: z
    .union([modelReference, newModel])
    .describe('Where training starts: a model, or { config } for random weights (tokenizer needed)'),
  data: textData,
  heldOut: heldOutSettings,
  training: languageModelSettings.extend({ batchTokens: batchTokens(8192) }),
  ...common,
})
export type LanguageModelRun = z.output<typeof languageModelRun>

export const rewardRun = z.strictObject({
  task: z.literal('reward').default('reward'),
  model: modelReference.describe('Causal language model or sequence classifier; a missing head starts at N(0, 0.02^2)'),
  headSeed: seed.default(0).describe('Of a new head'),
  data: preferenceData,
  heldOut: heldOutSettings,
  training: rewardSettings.extend({ batchTokens: batchTokens(8192) }),
  ...common,
})
export type RewardRun = z.output<typeof rewardRun>

export const ensembleRun = z.strictObject({
  task: z.literal('ensemble').default('ensemble'),
  model: modelReference.describe('Trained reward model; its base stays frozen'),
  data: preferenceData,
  heldOut: heldOutSettings,
  training: headsSettings,
  uncertainty: uncertaintySettings.describe(
    'Where sigma comes from; it is saved beside the model and found again by whoever scores',
  ),
  ...common,
})
export type EnsembleRun = z.output<typeof ensembleRun>

export const policyRun = z.strictObject({
  task: z.literal('policy').default('policy'),
  model: modelReference.describe('Causal language model that becomes the policy'),
  reference: modelReference.optional().describe('Frozen reference; default: the policy as it starts'),
  valueHeadSeed: seed.default(0),
  scorer: z.strictObject({
    model: modelReference.describe('Reward model; one output a head'),
    tokenizer: modelReference.optional(),
    maxLength: z.int().min(2).default(1024).describe('Longer inputs are cut on the left'),
    batchTokens: z.int().min(1).default(16384),
    sharePrefixes,
    uncertainty: expectedSource,
    head: z.int().min(0).default(0).describe('The head that is the reward'),
    ensemble: z
      .array(z.int().min(0))
      .min(1)
      .optional()
      .describe('Heads that sigma, mean and minimum are taken over; default all'),
    referenceMean: z
      .array(z.number())
      .min(1)
      .optional()
      .describe(
        'Mean of each head over reference responses, then of each column of a spread; measured when needed and absent',
      ),
  }),
  prompts: promptSettings,
  ppo: ppoSettings.extend({ batchTokens: batchTokens(16384) }).prefault({}),
  ...common,
})
export type PolicyRun = z.output<typeof policyRun>
