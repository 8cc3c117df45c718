import { z } from 'zod'
import { fraction, optimiser, schedule, seed, sharePrefixes } from '../config/blocks.js'

/** What every loop over optimiser steps has. */
const stepSettings = {
  batchSize: z.int().min(1).describe('Rows (pairs) of one optimiser step'),
  epochs: z.number().positive().default(1).describe('Passes over the data; parts of a pass are allowed'),
  steps: z.int().min(1).optional().describe('Optimiser steps; replaces epochs'),
  batchTokens: z.int().min(1).default(8192).describe('Tokens of one forward and backward; gradients add up over them'),
  schedule,
  seed: seed.default(0).describe('Order of the data'),
  evaluateEvery: z
    .int()
    .min(1)
    .optional()
    .describe('Steps between evaluations on the held-out part; default: at the end only'),
}

/** Which activations wait for the backward. */
export const activations = {
  activationCheckpointing: z
    .boolean()
    .default(false)
    .describe(
      'Run blocks again in the backward instead of keeping their activations: less memory, about a third more work',
    ),
  activationMemory: z
    .int()
    .min(0)
    .optional()
    .describe(
      'MiB for activations that are kept nevertheless, with activationCheckpointing: as many of the last blocks as fit are not run again; default: what one block takes, since running one again takes that anyway',
    ),
}

export const updateInBackward = z
  .boolean()
  .default(false)
  .describe(
    'Update each parameter inside the backward and drop its gradient at once: memory for one gradient instead of all; clipping then takes a second forward and backward. Not with several ranks',
  )

/** Where AdamW keeps its moments, and the master weights of bfloat16 parameters. */
export const optimiserState = z
  .enum(['memory', 'file'])
  .default('memory')
  .describe(
    "file: in a nameless file on the run directory's disk, mapped and written through as parameters are updated (CPU only)",
  )

export type OptimiserState = z.output<typeof optimiserState>

/** ZeRO-1. */
export const shardOptimiser = z
  .boolean()
  .default(false)
  .describe(
    'With several ranks: each keeps the optimiser state of its share of the parameters and sends what it has updated to the others',
  )

/** Training ends before its last step once the smoothed loss is low enough. */
export const stopAt = z.strictObject({
  loss: z.number().positive().describe('Ends training when the smoothed training loss is at most this'),
  smoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0.95)
    .describe('Weight of the past in the exponential moving average (bias-corrected)'),
})
export type StopAt = z.output<typeof stopAt>

/** Next-token cross-entropy. */
export const languageModelSettings = z.strictObject({
  ...stepSettings,
  optimiser,
  ...activations,
  updateInBackward,
  optimiserState,
  shardOptimiser,
  stopAt: stopAt.optional(),
})
export type LanguageModelSettings = z.output<typeof languageModelSettings>

/** Full fine-tune by Bradley-Terry (paper, table 2). */
export const rewardSettings = z.strictObject({
  ...stepSettings,
  optimiser,
  sharePrefixes,
  ...activations,
  updateInBackward,
  optimiserState,
  shardOptimiser,
  stopAt: stopAt.optional(),
})
export type RewardSettings = z.output<typeof rewardSettings>

/** Where the heads of an ensemble start. */
export const headsInit = z.strictObject({
  kind: z
    .enum(['all-new', 'keep-first'])
    .default('all-new')
    .describe('keep-first: head 0 is the trained head (paper, section 4); all-new: none is (paper, appendix)'),
  std: z.number().min(0).default(0.02).describe('New heads start at N(0, std^2)'),
})

/** n reward heads on a frozen base (paper, table 4). The loss is the sum of the heads' losses. */
export const headsSettings = z.strictObject({
  ...stepSettings,
  optimiser,
  sharePrefixes,
  heads: z.int().min(1).default(10),
  init: headsInit.prefault({}),
  order: z
    .enum(['shared', 'per-head'])
    .default('shared')
    .describe('Whether each head sees the pairs in an order of its own'),
  bootstrap: z
    .boolean()
    .default(false)
    .describe('Each head trains on its own sample of the pairs, drawn with replacement'),
  anchored: z
    .boolean()
    .default(false)
    .describe("Ridge of weight 1 / (pairs * init.std^2) toward each head's own start (anchored ensembles)"),
  stopAt: stopAt.optional().describe('On the mean loss over heads'),
})
export type HeadsSettings = z.output<typeof headsSettings>

/** How often a run saves itself and what it keeps. */
export const checkpointSettings = z
  .strictObject({
    everySteps: z.int().min(1).default(100).describe('Optimiser steps between checkpoints'),
    keep: z.int().min(1).default(2).describe('Newest checkpoints kept, beside the best'),
  })
  .prefault({})
export type CheckpointSettings = z.output<typeof checkpointSettings>

/** Rows kept from training to measure it. */
export const heldOutSettings = z
  .strictObject({
    fraction: fraction.lt(1).default(0.05).describe('Share of the rows held out'),
    seed: seed.default(0),
  })
  .prefault({})
