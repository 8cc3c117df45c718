import { z } from 'zod'
import { SOURCES } from '../addon/uncertainty.js'
import type { HeadsSettings } from '../training/settings.js'

/** What sources have beside the training of their heads. */
export const sourceParts = {
  layers: {
    layers: z
      .array(z.int().min(1))
      .min(2)
      .describe(
        'Layers of the base that heads read, 1 for the first, the last one among them; heads are shared out evenly',
      ),
  },
  laplace: {
    priorPrecision: z
      .union([z.number().positive(), z.literal('evidence')])
      .default('evidence')
      .describe(
        'Of the prior N(0, 1 / precision) of every weight; evidence: the one under which the pairs are likeliest',
      ),
  },
  dropout: {
    rate: z.number().gt(0).lt(1).default(0.1),
    passes: z
      .int()
      .min(1)
      .optional()
      .describe('Fixed masks of the features; default: the limit of many, in closed form'),
  },
}

/** Where the sigma of a reward model on a frozen base comes from. */
export const uncertaintySettings = z
  .discriminatedUnion('source', [
    z
      .strictObject({ source: z.literal('heads') })
      .describe(
        'Disagreement of heads that differ as `training` says: by their start alone in the recipe of the paper',
      ),
    z
      .strictObject({ source: z.literal('bootstrap') })
      .describe('Disagreement of heads, each trained on its own sample of the pairs'),
    z
      .strictObject({ source: z.literal('anchored-bootstrap') })
      .describe('The same, each held near its own start by a ridge'),
    z
      .strictObject({ source: z.literal('layers'), ...sourceParts.layers })
      .describe('Disagreement of heads that read different layers'),
    z
      .strictObject({ source: z.literal('laplace'), ...sourceParts.laplace })
      .describe('Bayesian head, closed form: x H^-1 x at the mode of its posterior'),
    z
      .strictObject({ source: z.literal('dropout'), ...sourceParts.dropout })
      .describe("Dropout of the frozen base's features under one head"),
  ])
  .prefault({ source: 'heads' })
export type UncertaintySettings = z.output<typeof uncertaintySettings>

/** What a scorer's sigma may be asked to come from. */
export const expectedSource = z
  .enum(['auto', ...SOURCES])
  .default('auto')
  .describe(
    'Where sigma comes from: auto takes what the model was trained with (heads where it says nothing); a name is checked',
  )

/** Settings of the heads that a source trains: what the source is made of wins. */
export function headsOf(settings: HeadsSettings, uncertainty: UncertaintySettings): HeadsSettings {
  switch (uncertainty.source) {
    case 'bootstrap':
      return { ...settings, bootstrap: true }
    case 'anchored-bootstrap':
      return { ...settings, bootstrap: true, anchored: true }
    case 'dropout':
      return { ...settings, heads: 1 }
    default:
      return settings
  }
}
