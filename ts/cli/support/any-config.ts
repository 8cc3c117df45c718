import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { loadConfig } from '../../config/load.js'
import { PrudentError } from '../../errors.js'
import { studyConfigSchema } from '../../study/config.js'
import { judgeConfigSchema } from '../../study/judge/config.js'
import { comparisonConfig } from '../../uncertainty/comparison/config.js'
import { experimentConfig } from '../experiment/config.js'
import { ensembleRun, languageModelRun, policyRun, rewardRun } from '../train/schemas.js'
import { CONFIG_KINDS, type ConfigKind } from './options.js'

const SCHEMAS = {
  'language-model': languageModelRun,
  reward: rewardRun,
  ensemble: ensembleRun,
  policy: policyRun,
  judge: judgeConfigSchema,
  study: studyConfigSchema,
  experiment: experimentConfig,
  sources: comparisonConfig,
} as const satisfies Record<ConfigKind, z.ZodType>

export type AnyConfig = { [Kind in ConfigKind]: { kind: Kind; config: z.output<(typeof SCHEMAS)[Kind]> } }[ConfigKind]

export interface AnyConfigOptions {
  set?: readonly string[]
  as?: ConfigKind | undefined
}

/**
 * Reads a configuration of whichever kind: the one that is named, else the file's `task` or the schema of its first comment, else
 * the only kind that it fits.
 */
export async function loadAnyConfig(file: string, options: AnyConfigOptions = {}): Promise<AnyConfig> {
  const load = async (kind: ConfigKind) =>
    ({ kind, config: await loadConfig<z.ZodType>(SCHEMAS[kind], file, { set: options.set ?? [] }) }) as AnyConfig
  const kind = options.as ?? (await declaredKind(file))
  if (kind !== null) return load(kind)
  const tried = await Promise.allSettled(CONFIG_KINDS.map(load))
  const fitting = tried.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  if (fitting.length === 1) return fitting[0] as AnyConfig
  const kinds = fitting.length === 0 ? CONFIG_KINDS : fitting.map((candidate) => candidate.kind)
  const message = `${file}: may be a configuration of ${kinds.join(', ')}; say which with --as, or write "task: …" into it`
  throw new PrudentError('E_USAGE', message, { argument: '--as', expected: kinds.join(', ') })
}

/** A file that does not say what it is is a study. */
export async function loadExperimentOrStudy(
  file: string,
  set: readonly string[],
): Promise<Extract<AnyConfig, { kind: 'study' | 'experiment' }>> {
  if ((await declaredKind(file)) === 'experiment')
    return { kind: 'experiment', config: await loadConfig(experimentConfig, file, { set }) }
  return { kind: 'study', config: await loadConfig(studyConfigSchema, file, { set }) }
}

/** What the file says that it is; null where it says nothing. */
export async function declaredKind(file: string): Promise<ConfigKind | null> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const task = /^task:\s*["']?([\w-]+)/m.exec(text)?.[1]
  const schema = /^#\s*yaml-language-server:\s*\$schema=\S*?([\w-]+)\.json\s*$/m.exec(text)?.[1]
  return CONFIG_KINDS.find((kind) => kind === (task ?? schema)) ?? null
}
