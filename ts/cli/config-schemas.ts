import type { z } from 'zod'
import { toJsonSchema } from '../config/json-schema.js'
import { studyConfigSchema } from '../study/config.js'
import { judgeConfigSchema } from '../study/judge/config.js'
import { comparisonConfig } from '../uncertainty/comparison/config.js'
import { experimentConfig } from './experiment/config.js'
import { ensembleRun, languageModelRun, policyRun, rewardRun } from './train/schemas.js'

/** Root schemas of all configuration files, by the name of their JSON Schema in configs/schema. */
export const ROOT_SCHEMAS: Record<string, z.ZodType> = {
  study: studyConfigSchema,
  experiment: experimentConfig,
  judge: judgeConfigSchema,
  'language-model': languageModelRun,
  reward: rewardRun,
  ensemble: ensembleRun,
  policy: policyRun,
  sources: comparisonConfig,
}

/** JSON Schemas for editors; scripts/make-config-schemas.mjs writes them and a test holds them current. */
export function configSchemas(): Record<string, string> {
  const entries = Object.entries(ROOT_SCHEMAS)
  return Object.fromEntries(
    entries.map(([name, schema]) => [name, toJsonSchema(schema, `prudent: ${name} configuration`)]),
  )
}
