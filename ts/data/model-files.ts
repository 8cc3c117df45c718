import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PrudentError } from '../errors.js'
import { downloadSnapshot, type HubOptions } from './hub.js'
import { expandHome, isHubId } from './sources.js'
import { readJsonFile } from './tokenizer-files.js'

/** What a model folder may hold that prudent reads. */
export const MODEL_PATTERNS = [
  'config.json',
  'generation_config.json',
  '*.safetensors',
  'model.safetensors.index.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'additional_chat_templates/*.jinja',
]

/** The folder of a model reference: a local folder, or a snapshot in the hub's cache. */
export async function resolveModel(
  reference: { path: string; revision?: string | undefined },
  options: HubOptions = {},
): Promise<{ folder: string; revision: string | null }> {
  const local = expandHome(reference.path)
  const info = await stat(local).catch(() => null)
  if (info?.isDirectory()) return { folder: local, revision: null }
  if (info !== null)
    throw new PrudentError('E_NOT_FOUND', `${reference.path}: expected a model folder, received a file`, {
      argument: 'model',
    })
  if (!isHubId(reference.path))
    throw new PrudentError('E_NOT_FOUND', `${reference.path}: no such model folder`, { argument: 'model' })
  const request = { ...options, revision: reference.revision, patterns: MODEL_PATTERNS }
  const { folder, commit } = await downloadSnapshot({ type: 'model', name: reference.path }, request)
  return { folder, revision: commit }
}

/** EOS ids: generation_config.json's, else config.json's, else none; as transformers' generate takes them. */
export async function eosTokenIds(folder: string): Promise<number[]> {
  for (const name of ['generation_config.json', 'config.json']) {
    const value = (await readJsonFile(join(folder, name)))?.eos_token_id
    if (value !== null && value !== undefined) return [value].flat().filter((id): id is number => Number.isInteger(id))
  }
  return []
}
