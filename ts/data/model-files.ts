import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe } from '../addon/rows.js'
import { argumentError, PrudentError } from '../errors.js'
import { type HubOptions, listSnapshot, openSnapshot } from './hub.js'
import { matchesAny } from './patterns.js'
import { expandHome, isHubId, lookedForIn } from './sources.js'
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
  if (typeof reference.path !== 'string')
    throw argumentError('E_TYPE', 'model', 'a folder or hub id', describe(reference.path))
  const local = expandHome(reference.path)
  const info = await stat(local).catch(() => null)
  if (info?.isDirectory()) return { folder: local, revision: null }
  if (info !== null)
    throw new PrudentError('E_NOT_FOUND', `${reference.path}: expected a model folder, received a file`, {
      argument: 'model',
    })
  if (!isHubId(reference.path))
    throw new PrudentError('E_NOT_FOUND', `${reference.path}: no such model folder${lookedForIn(reference.path)}`, {
      argument: 'model',
    })
  const repository = { type: 'model' as const, name: reference.path }
  const listing = await listSnapshot(repository, { ...options, revision: reference.revision })
  const names = modelFiles(listing.files, reference.path)
  return { folder: await openSnapshot(listing, names, options), revision: listing.commit }
}

/**
 * The files of a repository that prudent reads. Pickles are none of them: to read one is to run it.
 * @throws E_UNSUPPORTED where weights are there in other forms alone
 */
export function modelFiles(files: readonly string[], path: string): string[] {
  const readable = files.filter((name) => matchesAny(name, MODEL_PATTERNS))
  const others = files.filter((name) => !name.includes('/') && OTHER_WEIGHTS.test(name))
  if (others.length === 0 || readable.some((name) => name.endsWith('.safetensors'))) return readable
  const message = `${path}: holds ${others.slice(0, 3).join(', ')} and no safetensors; where Python has torch and transformers, "python scripts/convert-weights.py ${path} FOLDER" writes them (a pickle runs code when it is read: convert only what you trust)`
  throw new PrudentError('E_UNSUPPORTED', message, { argument: 'model', expected: 'safetensors', received: others[0] })
}

const OTHER_WEIGHTS = /\.(bin|pt|pth|ckpt|h5|msgpack|ot|gguf|onnx)$/i

/** EOS ids: generation_config.json's, else config.json's, else none; as transformers' generate takes them. */
export async function eosTokenIds(folder: string): Promise<number[]> {
  for (const name of ['generation_config.json', 'config.json']) {
    const value = (await readJsonFile(join(folder, name)))?.eos_token_id
    if (value !== null && value !== undefined) return [value].flat().filter((id): id is number => Number.isInteger(id))
  }
  return []
}
