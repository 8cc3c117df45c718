import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { parse } from 'yaml'
import type { z } from 'zod'
import { toYaml } from '../config/yaml-writer.js'
import { PrudentError } from '../errors.js'
import { isMissing, writeFileAtomic } from './atomic-files.js'

export type PlainConfig = Readonly<Record<string, unknown>>

/** config.yaml of a run; null when there is none. */
export async function readRunConfig(path: string): Promise<PlainConfig | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
  try {
    return (parse(text) ?? {}) as PlainConfig
  } catch (cause) {
    throw new PrudentError('E_CORRUPT_FILE', `${path}: not YAML: ${(cause as Error).message}`, { cause })
  }
}

export async function writeRunConfig(path: string, config: PlainConfig): Promise<void> {
  await writeFileAtomic(path, toYaml(config))
}

/** Dotted names of the values in which two configurations differ. */
export function differingKeys(a: unknown, b: unknown, path = ''): string[] {
  if (isDeepStrictEqual(a, b)) return []
  if (!isMapping(a) || !isMapping(b)) return [path]
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])]
  return names.flatMap((name) => differingKeys(a[name], b[name], path === '' ? name : `${path}.${name}`))
}

/** As it would come back from the file: without undefined values. */
export function plainConfig(config: PlainConfig): PlainConfig {
  return (parse(toYaml(config)) ?? {}) as PlainConfig
}

/** A configuration that an older version wrote, with what it lacks at its defaults; as it is where the schema refuses it. */
export function completeConfig(schema: z.ZodType, stored: PlainConfig): PlainConfig {
  const { success, data } = schema.safeParse(stored)
  return success ? plainConfig(data as PlainConfig) : stored
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
