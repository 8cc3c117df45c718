/**
 * The sidecar of a reward model that says where its sigma comes from: uncertainty.json beside config.json, and, for sources that score.weight
 * cannot hold, uncertainty.safetensors with a readout. transformers reads score.weight alone and gets the same rewards.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { argumentError, PrudentError } from '../errors.js'
import { callNative } from './call.js'
import type { NativeModel } from './native.js'

export const SOURCES = ['heads', 'bootstrap', 'anchored-bootstrap', 'layers', 'laplace', 'dropout'] as const
/** Where sigma comes from: docs/algorithms/uncertainty.md. */
export type UncertaintyKind = (typeof SOURCES)[number]

/** What is known of a fitted source beside its weights. */
export interface Uncertainty {
  source: UncertaintyKind
  /** Layers that the readout reads, 1 for the first; null: score.weight's heads are the source. */
  layers: number[] | null
  /** Settings and results of the fit, for people. */
  fit: Record<string, number>
}

const FORMAT = 'prudent-uncertainty'
const VERSION = 1
const SIDECAR = 'uncertainty.json'
const WEIGHTS = 'uncertainty.safetensors'
/** In config.json: a folder that lost its sidecar is refused. */
const MARK = 'prudent_uncertainty'

interface Sidecar extends Uncertainty {
  format: typeof FORMAT
  version: typeof VERSION
  hiddenSize: number
  heads: number
  spread: number
  /** Euclidean norm of every row of score.weight: the sidecar belongs to these heads and no others. */
  headNorms: number[]
  weights: { file: string; sha256: string } | null
}

/** Norms differ by the dtype that the weights are read in: bfloat16 keeps 8 bits. */
const NORM_TOLERANCE = 0.01

/**
 * Makes a model score by the source that its folder names; null where the folder names none.
 * @throws E_NOT_FOUND (config.json names a sidecar that is gone), E_UNSUPPORTED (version, source), E_CORRUPT_FILE, E_SHAPE, E_MISSING_TENSOR
 */
export async function loadUncertainty(
  model: NativeModel,
  folder: string,
  signal?: AbortSignal,
): Promise<Uncertainty | null> {
  const file = join(folder, SIDECAR)
  const text = await readIfThere(file)
  if (text === null) {
    if (!(await isMarked(folder))) return null
    throw new PrudentError(
      'E_NOT_FOUND',
      `${file}: expected the sidecar that config.json names (${MARK}), received none`,
    )
  }
  const sidecar = checkSidecar(parse(text, file), file)
  await checkModel(sidecar, model, file)
  if (sidecar.weights !== null && sidecar.layers !== null) {
    const path = join(folder, sidecar.weights.file)
    await checkDigest(path, sidecar.weights.sha256)
    const { heads, spread } = sidecar
    const layers = Int32Array.from(sidecar.layers)
    await callNative({ signal }, () => model.loadReadout(path, { heads, spread, layers }))
  }
  const { source, layers, fit } = sidecar
  return { source, layers, fit }
}

/** Writes the sidecar of a model into the folder that the model is, or will be, saved in. */
export async function saveUncertainty(model: NativeModel, folder: string, uncertainty: Uncertainty): Promise<void> {
  const { hiddenSize, numLabels, spread } = model.info()
  const weight = await callNative(undefined, (call) => model.scoreWeight(call))
  let weights: Sidecar['weights'] = null
  if (uncertainty.layers !== null) {
    await callNative(undefined, (call) => model.saveReadout(join(folder, WEIGHTS), call))
    weights = { file: WEIGHTS, sha256: await digestOf(join(folder, WEIGHTS)) }
  }
  const { source, layers, fit } = uncertainty
  const sidecar: Sidecar = {
    ...{ format: FORMAT, version: VERSION, source, layers, fit },
    ...{ hiddenSize, heads: numLabels, spread, headNorms: rowNorms(weight, hiddenSize), weights },
  }
  await replace(join(folder, SIDECAR), sidecar)
}

/** Names the sidecar in the config.json of a folder that holds both. */
export async function markUncertainty(folder: string): Promise<void> {
  const file = join(folder, 'config.json')
  const config = parse(await readFile(file, 'utf8'), file)
  await replace(file, { ...(config as object), [MARK]: SIDECAR })
}

async function isMarked(folder: string): Promise<boolean> {
  const file = join(folder, 'config.json')
  const text = await readIfThere(file)
  const config = text === null ? null : parse(text, file)
  return typeof config === 'object' && config !== null && MARK in config
}

function checkSidecar(value: unknown, file: string): Sidecar {
  const corrupt = (expected: string, received: unknown) =>
    argumentError('E_CORRUPT_FILE', file, expected, JSON.stringify(received) ?? 'nothing')
  if (typeof value !== 'object' || value === null) throw corrupt('an object', value)
  const { format, version, source, ...rest } = value as Partial<Sidecar>
  if (format !== FORMAT) throw corrupt(`format "${FORMAT}"`, format)
  if (version !== VERSION) throw argumentError('E_UNSUPPORTED', file, `version ${VERSION}`, JSON.stringify(version))
  if (source === undefined || !SOURCES.includes(source))
    throw argumentError('E_UNSUPPORTED', file, `source ${SOURCES.join(' | ')}`, JSON.stringify(source))
  const whole = (name: string, number: unknown, least: number) => {
    if (!Number.isInteger(number) || (number as number) < least)
      throw corrupt(`${name}: a whole number >= ${least}`, number)
  }
  whole('hiddenSize', rest.hiddenSize, 1)
  whole('heads', rest.heads, 1)
  whole('spread', rest.spread, 0)
  if (rest.layers !== null && !isList(rest.layers, (n) => Number.isInteger(n) && n >= 1))
    throw corrupt('layers: whole numbers from 1, or null', rest.layers)
  if (!isList(rest.headNorms, (n) => Number.isFinite(n) && n >= 0)) throw corrupt('headNorms: numbers', rest.headNorms)
  if (typeof rest.fit !== 'object' || rest.fit === null) throw corrupt('fit: an object', rest.fit)
  const { weights } = rest
  if (weights === undefined || (weights === null) !== (rest.layers === null))
    throw corrupt('weights where layers are named, and nowhere else', weights)
  if (weights !== null && (weights.file !== WEIGHTS || !/^[0-9a-f]{64}$/.test(weights.sha256 ?? '')))
    throw corrupt(`weights: { file: "${WEIGHTS}", sha256 }`, weights)
  return value as Sidecar
}

async function checkModel(sidecar: Sidecar, model: NativeModel, file: string): Promise<void> {
  const { hiddenSize } = model.info()
  if (sidecar.hiddenSize !== hiddenSize)
    throw argumentError('E_CORRUPT_FILE', file, `hiddenSize ${hiddenSize} of the model`, String(sidecar.hiddenSize))
  const norms = rowNorms(await callNative(undefined, (call) => model.scoreWeight(call)), hiddenSize)
  const close = (own: number, head: number) =>
    Math.abs(own - (sidecar.headNorms[head] as number)) <= NORM_TOLERANCE * own + Number.EPSILON
  if (norms.length === sidecar.headNorms.length && norms.every(close)) return
  const shown = (values: readonly number[]) =>
    `${values.length} heads of norms ${values.slice(0, 4).map((value) => value.toPrecision(4))}${values.length > 4 ? ' …' : ''}`
  throw argumentError('E_CORRUPT_FILE', file, `the sidecar of this model: ${shown(norms)}`, shown(sidecar.headNorms))
}

async function checkDigest(file: string, expected: string): Promise<void> {
  const received = await digestOf(file)
  if (received !== expected) throw argumentError('E_CORRUPT_FILE', file, `SHA-256 ${expected}`, received)
}

function rowNorms(weight: Float32Array, width: number): number[] {
  return Array.from({ length: weight.length / width }, (_, row) =>
    Math.sqrt(weight.subarray(row * width, (row + 1) * width).reduce((sum, value) => sum + value ** 2, 0)),
  )
}

const isList = (value: unknown, holds: (item: number) => boolean): value is number[] =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'number' && holds(item))

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PrudentError('E_CORRUPT_FILE', `${file}: no JSON: ${(cause as Error).message}`, { cause })
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new PrudentError('E_IO', `${file}: cannot be read: ${(cause as Error).message}`, { cause })
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    throw new PrudentError(missing ? 'E_NOT_FOUND' : 'E_IO', `${file}: cannot be read: ${(cause as Error).message}`, {
      cause,
    })
  }
  return hash.digest('hex')
}

async function replace(file: string, value: object): Promise<void> {
  const partial = `${file}.${process.pid}.partial`
  await writeFile(partial, `${JSON.stringify(value, null, 2)}\n`)
  await rename(partial, file)
}
