import { z } from 'zod'

/** Building blocks of configuration schemas. Every mapping is strict: unknown keys are errors. */

/** A local path; relative ones count from the working directory. */
export const pathText = z.string().min(1)

/** A model: a local Hugging Face folder or a hub id `owner/name`; short form is the path alone. */
export const modelReference = z.union([
  pathText.transform((path) => ({ path })),
  z.strictObject({
    path: pathText.describe('Local Hugging Face folder, or a hub id owner/name'),
    revision: z.string().min(1).optional().describe('Branch, tag or commit of a hub id'),
  }),
])
export type ModelReference = { path: string; revision?: string | undefined }

/** Rows: a local file or folder, or a hub data set `owner/name`; short form is the path alone. */
export const dataReference = z.union([
  pathText.transform((path) => ({ path })),
  z.strictObject({
    path: pathText.describe('Local file or folder, or a hub id owner/name'),
    revision: z.string().min(1).optional().describe('Branch, tag or commit of a hub id'),
    subset: z.string().min(1).optional().describe('Named configuration of the data set'),
    split: z.string().min(1).optional().describe('Named part of the data set; default train'),
    files: z.array(z.string().min(1)).min(1).optional().describe('File patterns; they replace subset and split'),
    limit: z.int().min(1).optional().describe('Rows to take from the start'),
  }),
])

export const dtype = z.enum(['auto', 'float32', 'bfloat16'])
export const device = z.string().regex(/^(cpu|cuda(:\d+)?)$/, 'expected cpu or cuda:N')
export const seed = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
export const fraction = z.number().min(0).max(1)

/** What rows begin with alike goes through the model once. */
export const sharePrefixes = z
  .boolean()
  .default(true)
  .describe(
    'Compute what rows have in common at their beginning (a prompt, a chat template) once; results agree within rounding',
  )

/** AdamW (Loshchilov & Hutter 2019), decoupled weight decay; both moments in fp32. */
export const optimiser = z.strictObject({
  lr: z.number().positive().describe('Peak learning rate'),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.999),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0),
  maxGradNorm: z.number().min(0).default(1).describe('Clip the global gradient norm; 0 is off'),
})
export type OptimiserConfig = z.output<typeof optimiser>

/** Learning rate over steps: warm-up from 0, then the named shape down to minRatio * lr. */
export const schedule = z
  .strictObject({
    shape: z.enum(['cosine', 'linear', 'constant']).default('cosine'),
    warmupRatio: fraction.default(0).describe('Share of all steps spent warming up'),
    warmupSteps: z.int().min(0).optional().describe('Steps of warm-up; replaces warmupRatio'),
    minRatio: fraction.default(0).describe('Learning rate at the end, as a share of the peak'),
  })
  .prefault({})
export type ScheduleConfig = z.output<typeof schedule>

/** Columns of preference pairs. */
export const pairColumns = z
  .strictObject({
    prompt: z.string().min(1).optional(),
    chosen: z.string().min(1).default('chosen'),
    rejected: z.string().min(1).default('rejected'),
  })
  .prefault({})

/** What happens to inputs with more tokens than `maxLength`. */
export const overLong = z.enum(['truncate-left', 'drop'])

/** Preference pairs and how they become tokens. */
export const preferenceData = z.strictObject({
  source: dataReference,
  columns: pairColumns,
  maxLength: z.int().min(2).default(1024).describe('Tokens of one sequence, special tokens included'),
  overLong: overLong.default('truncate-left'),
})

/** A column of texts. */
export const textData = z.strictObject({
  source: dataReference,
  column: z.string().min(1).default('text'),
  maxLength: z.int().min(1).default(1024),
  overLong: overLong.default('truncate-left'),
})

/** How responses are drawn. */
export const sampling = z
  .strictObject({
    maxNewTokens: z.int().min(1).default(128),
    minNewTokens: z.int().min(0).default(0),
    temperature: z.number().positive().default(1),
    topK: z.int().min(0).default(0).describe('0 keeps all'),
    topP: z.number().positive().max(1).default(1),
  })
  .prefault({})
