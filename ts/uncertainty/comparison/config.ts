/** Configuration of `prudent evaluate sources`. */
import { z } from 'zod'
import { device, dtype, fraction, modelReference, preferenceData, seed } from '../../config/blocks.js'
import { headsSettings } from '../../training/settings.js'
import { uncertaintySettings } from '../settings.js'

/** Features of no model: a Gaussian with the shape of a base's, and pairs whose labels come from a head that is known. */
const randomBase = z.strictObject({
  random: z.strictObject({
    hidden: z.int().min(2).default(2048),
    pairs: z.int().min(2).default(16384),
    heldOut: z.int().min(2).default(2000),
    squaredNorm: z
      .number()
      .positive()
      .default(10_000)
      .describe('Mean |x|^2 of a row; a final norm of Gemma-2B gives about this'),
    commonShare: fraction.lt(1).default(0.3).describe('Share of it that all rows have in common'),
    decay: z.number().min(0).default(1).describe('Variance along the k-th direction falls as k^-decay'),
    margin: z
      .number()
      .positive()
      .default(2)
      .describe('Standard deviation of the true margin between the sides of a pair'),
    seed: seed.default(0),
  }),
})
export type RandomBase = z.output<typeof randomBase>['random']

const source = z.strictObject({
  name: z.string().min(1).optional().describe("Default: the source's own"),
  uncertainty: uncertaintySettings,
  steps: z.int().min(1).optional().describe('In place of training.steps'),
  lr: z.number().positive().optional().describe('In place of training.optimiser.lr'),
  initStd: z.number().positive().optional().describe('In place of training.init.std'),
})
export type ComparedSource = z.output<typeof source>

const levels = z.int().min(2).default(4)

export const comparisonConfig = z.strictObject({
  model: z
    .union([modelReference, randomBase])
    .describe('Reward model whose base stays frozen; or { random } for features of no model'),
  tokenizer: modelReference.optional().describe("Folder or hub id of the tokenizer; default: the model's own"),
  data: preferenceData
    .optional()
    .describe('Pairs to train on and, apart from them, to measure on; needed with a model'),
  heldOut: z.strictObject({ fraction: fraction.gt(0).lt(1).default(0.25), seed: seed.default(0) }).prefault({}),
  training: headsSettings.describe('Of all heads, the grid of the split among them: the recipe of the paper, say'),
  sources: z
    .array(source)
    .default([
      { uncertainty: { source: 'heads' } },
      { uncertainty: { source: 'bootstrap' } },
      { uncertainty: { source: 'anchored-bootstrap' } },
      { uncertainty: { source: 'laplace', priorPrecision: 'evidence' } },
      { uncertainty: { source: 'dropout', rate: 0.1 } },
    ])
    .describe('What is compared; [] for the split alone'),
  split: z
    .union([
      z.literal(false),
      z.strictObject({
        initialisations: levels,
        samples: levels.describe('Bootstrap samples of the pairs'),
        orders: levels.describe('Orders in which the pairs come'),
      }),
    ])
    .prefault({})
    .describe('Grid of heads that takes sigma apart by where it comes from; false: none'),
  bootstrap: z.int().min(10).default(500).describe('Resamples of the pairs for the intervals'),
  level: z.number().gt(0.5).lt(1).default(0.95),
  seed: seed.default(0).describe('Of the resamples'),
  dtype: dtype.default('auto'),
  device: device.default('cpu'),
})
/** As a part of a study, which knows the rest: the base is its single reward model, the pairs are its preferences. */
export const studySources = comparisonConfig.omit({
  ...{ model: true, tokenizer: true, data: true, seed: true, dtype: true, device: true },
})
export type ComparisonConfig = z.output<typeof comparisonConfig>
export type Split = Exclude<ComparisonConfig['split'], false>

export const nameOf = ({ name, uncertainty }: ComparedSource): string => name ?? uncertainty.source
