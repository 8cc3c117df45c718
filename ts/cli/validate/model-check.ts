import { copyFile, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { callNative } from '../../addon/call.js'
import { loadAddon } from '../../addon/load.js'
import type { ModelInfo } from '../../addon/native.js'
import type { ModelReference } from '../../config/blocks.js'
import {
  gigabytes,
  type HubOptions,
  listSnapshot,
  openSnapshot,
  readLocalHeader,
  readRemoteHeader,
  type SnapshotListing,
} from '../../data/hub.js'
import { modelFiles, resolveModel } from '../../data/model-files.js'
import { expandHome, isHubId, lookedForIn } from '../../data/sources.js'
import { Tokenizer } from '../../data/tokenizer.js'
import { readJsonFile } from '../../data/tokenizer-files.js'
import { PrudentError } from '../../errors.js'
import type { Findings } from './findings.js'
import type { ModelNeed, Needs } from './needs.js'

/** What is known of a model without its weights. */
export interface KnownModel {
  info: ModelInfo | null
  tokenizer: Tokenizer | null
}

/**
 * Holds the tensors of a model against its config.json as loading does, without its values: the headers of its weights (a hub
 * sends them alone) go into files of the right length without content, which are loaded in their own dtype and so never read.
 */
export async function checkModel(need: ModelNeed, findings: Findings, options: HubOptions): Promise<KnownModel> {
  const found = await findings.check(need.key, () => openModelFiles(need.reference, options))
  if (found === null) return { info: null, tokenizer: null }
  const info = await findings.check(need.key, () => inspect(found, need))
  if (info !== null) {
    const { architecture, parameterCount, layers, hiddenSize, vocabSize, maxPositions, numLabels } = info
    const heads = need.task === 'sequence-classification' && !need.newHead ? `, ${numLabels} heads` : ''
    const shape = `${layers} layers of ${hiddenSize}, vocabulary ${vocabSize}, ${maxPositions} positions${heads}`
    const size = found.missing > 0 ? `; ${gigabytes(found.missing)} to download` : ''
    findings.ok(need.key, `${need.reference.path}: ${architecture}, ${parameterCount} parameters, ${shape}${size}`)
  }
  const tokenizer = await findings.check(need.key, () => openTokenizer(need.tokenizer, found.folder, options))
  if (tokenizer !== null)
    checkVocabulary(need.key, tokenizer, info?.vocabSize ?? (await declaredVocabulary(found.folder)), findings)
  return { info, tokenizer }
}

/** What config.json says where the weights could not be held against it. */
async function declaredVocabulary(folder: string): Promise<number | null> {
  const size = (await readJsonFile(join(folder, 'config.json')).catch(() => null))?.vocab_size
  return typeof size === 'number' ? size : null
}

/** A tokenizer for a model that does not exist yet. */
export async function checkTokenizer(need: Needs['tokenizers'][number], findings: Findings, options: HubOptions) {
  const tokenizer = await findings.check(need.key, () => openTokenizer(need.reference, '', options))
  if (tokenizer !== null) checkVocabulary(need.key, tokenizer, need.vocabSize, findings)
  return { info: null, tokenizer }
}

interface ModelFiles {
  /** Holds config.json and the tokenizer. */
  folder: string
  weights: { name: string; header: Buffer; size: number }[]
  /** Bytes that the cache lacks. */
  missing: number
}

async function openModelFiles(reference: ModelReference, options: HubOptions): Promise<ModelFiles> {
  const isLocal = (await stat(expandHome(reference.path)).catch(() => null)) !== null
  if (isLocal) return localFiles((await resolveModel(reference, options)).folder)
  const resolved = await remoteListing(reference, options)
  return resolved.cached ? localFiles(await openSnapshot(resolved, [], options)) : remoteFiles(resolved, options)
}

async function remoteListing(reference: ModelReference, options: HubOptions): Promise<SnapshotListing> {
  if (!isHubId(reference.path))
    throw new PrudentError('E_NOT_FOUND', `${reference.path}: no such model folder${lookedForIn(reference.path)}`, {
      argument: 'model',
    })
  return listSnapshot({ type: 'model', name: reference.path }, { ...options, revision: reference.revision })
}

async function localFiles(folder: string): Promise<ModelFiles> {
  const names = modelFiles(await readdir(folder), folder).filter((name) => name.endsWith('.safetensors'))
  const weights = await Promise.all(
    names.map(async (name) => ({ name, ...(await readLocalHeader(join(folder, name))) })),
  )
  return { folder, weights, missing: 0 }
}

async function remoteFiles(listing: SnapshotListing, options: HubOptions): Promise<ModelFiles> {
  const names = modelFiles(listing.files, listing.repository.name)
  const small = names.filter((name) => !name.endsWith('.safetensors'))
  const folder = await openSnapshot(listing, small, options)
  const weights = []
  let missing = 0
  for (const name of names.filter((file) => file.endsWith('.safetensors'))) {
    const size = listing.entries.get(name)?.size ?? 0
    const there = (await stat(join(folder, name)).catch(() => null))?.size === size
    const read = there ? await readLocalHeader(join(folder, name)) : await readRemoteHeader(listing, name, options)
    weights.push({ name, ...read })
    missing += there ? 0 : size
  }
  return { folder, weights, missing }
}

async function inspect({ folder, weights }: ModelFiles, need: ModelNeed): Promise<ModelInfo> {
  const skeleton = await mkdtemp(join(tmpdir(), 'prudent-validate-'))
  try {
    for (const name of ['config.json', 'generation_config.json', 'model.safetensors.index.json']) {
      await copyFile(join(folder, name), join(skeleton, name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
    }
    const dtypes = new Set<string>()
    for (const { name, header, size } of weights) {
      const loadable = loadableHeader(header, dtypes)
      await writeFile(join(skeleton, name), loadable)
      await truncate(join(skeleton, name), loadable.length + size - header.length)
    }
    return await loadInfo(skeleton, need, dtypes.has('F32') ? 'float32' : 'bfloat16')
  } catch (error) {
    // Errors name the folder that the user knows.
    if (!(error instanceof PrudentError)) throw error
    throw new PrudentError(error.code, error.message.replaceAll(skeleton, need.reference.path), { cause: error })
  } finally {
    await rm(skeleton, { recursive: true, force: true })
  }
}

async function loadInfo(folder: string, need: ModelNeed, dtype: 'float32' | 'bfloat16'): Promise<ModelInfo> {
  const { task, newHead } = need
  const options = { task, dtype, device: 'cpu', ...(newHead && { allowNewHead: true, numLabels: 1, seed: 0 }) }
  const model = await callNative(undefined, () => loadAddon().loadModel(folder, options))
  try {
    return model.info()
  } finally {
    await model.dispose()
  }
}

/** float16 is converted when it is loaded, which would read it: named bfloat16, of the same size, it is not. */
function loadableHeader(header: Buffer, dtypes: Set<string>): Buffer {
  const text = header.subarray(8).toString('latin1')
  for (const [, dtype] of text.matchAll(/"dtype"\s*:\s*"(F32|BF16|F16)"/g)) dtypes.add(dtype as string)
  const renamed = text.trimEnd().replace(/("dtype"\s*:\s*)"F16"/g, '$1"BF16"')
  // Data that are not aligned would be copied.
  const body = Buffer.from(renamed.padEnd(Math.ceil(renamed.length / 8) * 8), 'latin1')
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(body.length))
  return Buffer.concat([length, body])
}

async function openTokenizer(
  reference: ModelReference | undefined,
  folder: string,
  options: HubOptions,
): Promise<Tokenizer> {
  if (reference === undefined) return Tokenizer.load(folder)
  const local = await stat(expandHome(reference.path)).catch(() => null)
  if (local !== null) return Tokenizer.load((await resolveModel(reference, options)).folder)
  const listing = await remoteListing(reference, options)
  const names = listing.files.filter((name) => /^[^/]*\.(json|jinja)$/.test(name))
  return Tokenizer.load(await openSnapshot(listing, names, options))
}

function checkVocabulary(key: string, tokenizer: Tokenizer, vocabSize: number | null, findings: Findings): void {
  if (vocabSize !== null && tokenizer.vocabSize > vocabSize) {
    const message = `the tokenizer has ${tokenizer.vocabSize} tokens, the model's embedding ${vocabSize}: they do not belong together`
    findings.fail(key, 'E_SHAPE', message)
    return
  }
  const template = tokenizer.chatTemplate === null ? 'no chat template' : 'a chat template'
  findings.ok(key, `tokenizer of ${tokenizer.vocabSize} tokens, ${template}`)
}
