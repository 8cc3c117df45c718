/** Scores of every head of one or several models on the benchmark; what a run has scored, a run after it reads back. */
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { RewardModel } from '../../addon/reward-model.js'
import { type Conversation, renderConversation } from '../../data/conversation.js'
import { resolveModel } from '../../data/model-files.js'
import { Tokenizer } from '../../data/tokenizer.js'
import { PrudentError } from '../../errors.js'
import { isMissing, writeFileAtomic } from '../../run/atomic-files.js'
import { makeFolder } from '../../run/folders.js'
import { groupRows } from '../reward-bench.js'
import { type ScoreMatrix, scoreMatrix } from '../score-matrix.js'
import type { BenchRow } from './rows.js'
import type { PairScores } from './rules.js'

export interface ScoringOptions {
  dtype: 'auto' | 'float32' | 'bfloat16'
  int8?: boolean
  device: string
  batchTokens: number
  /** Tokens kept of a side, counted from its end. */
  maxLength: number
  revision?: string | undefined
  tokenizer?: string | undefined
  /** Folder for what is done already. */
  cache: string
  signal: AbortSignal
  progress(model: string, done: number, total: number): void
  warn(line: string): void
}

export interface ScoredModel {
  path: string
  heads: number
  scores: PairScores
  /** `tokenizer`, or `none` where prompt and response are one text. */
  chatTemplate: 'tokenizer' | 'none'
  /** The texts that were scored, as the leaderboard's scores file holds them. */
  texts: { chosen: string[]; rejected: string[] }
  /** Sides that were cut on the left. */
  truncated: number
}

/** Pairs between two looks at progress and the stop signal. */
const CHUNK_PAIRS = 64

/** @throws E_TOO_LONG is never: long sides are cut. E_DATA for a side without a token; E_NON_FINITE naming row and head. */
export async function scoreModel(
  path: string,
  rows: readonly BenchRow[],
  options: ScoringOptions,
): Promise<ScoredModel> {
  const { signal, dtype, device, int8 = false, revision } = options
  const { folder } = await resolveModel({ path, revision }, { signal })
  const tokenizerFolder =
    options.tokenizer === undefined ? folder : (await resolveModel({ path: options.tokenizer }, { signal })).folder
  const tokenizer = await Tokenizer.load(tokenizerFolder)
  const model = await RewardModel.load(folder, { dtype, device, int8, signal })
  try {
    const limit = Math.min(options.maxLength, model.info.maxPositions)
    if (limit < options.maxLength) options.warn(`${path}: the model has ${limit} positions; longer sides are cut there`)
    if (tokenizer.chatTemplate === null) {
      options.warn(`${path}: no chat template; prompt and response are scored as one text`)
    }
    const sides = await tokeniseSides(tokenizer, rows, limit)
    const key = await identity(folder, [dtype, device, ...(int8 ? ['int8'] : [])])
    const scores = await scoreSubsets(model, rows, sides, { ...options, path, key })
    return {
      path,
      heads: model.heads,
      scores,
      chatTemplate: tokenizer.chatTemplate === null ? 'none' : 'tokenizer',
      texts: { chosen: sides.chosen.texts, rejected: sides.rejected.texts },
      truncated: sides.chosen.truncated + sides.rejected.truncated,
    }
  } finally {
    await model.dispose()
  }
}

interface Side {
  texts: string[]
  ids: Int32Array[]
  truncated: number
}
interface Sides {
  chosen: Side
  rejected: Side
}

async function tokeniseSides(tokenizer: Tokenizer, rows: readonly BenchRow[], limit: number): Promise<Sides> {
  const side = async (name: 'chosen' | 'rejected'): Promise<Side> => {
    const texts = rows.map((row) => render(tokenizer, row[name], row.place))
    const encoded = await tokenizer.encodeBatch(texts)
    const empty = encoded.findIndex((ids) => ids.length === 0)
    if (empty >= 0) throw new PrudentError('E_DATA', `${rows[empty]?.place}: ${name}: expected at least one token`)
    const truncated = encoded.filter((ids) => ids.length > limit).length
    return { texts, ids: encoded.map((ids) => tokenizer.truncate(ids, limit)), truncated }
  }
  return { chosen: await side('chosen'), rejected: await side('rejected') }
}

function render(tokenizer: Tokenizer, conversation: Conversation, place: string): string {
  try {
    return renderConversation(tokenizer, conversation)
  } catch (cause) {
    if (!(cause instanceof PrudentError)) throw cause
    throw new PrudentError(cause.code, `${place}: ${cause.message}`, { cause })
  }
}

interface SubsetRun extends ScoringOptions {
  path: string
  key: string
}

async function scoreSubsets(
  model: RewardModel,
  rows: readonly BenchRow[],
  sides: Sides,
  run: SubsetRun,
): Promise<PairScores> {
  const { heads } = model
  const chosen = scoreMatrix(new Float32Array(rows.length * heads), heads)
  const rejected = scoreMatrix(new Float32Array(rows.length * heads), heads)
  let done = 0
  for (const members of groupRows(rows.map((row) => row.subset)).values()) {
    const file = join(run.cache, `${fingerprint(run.key, members, sides)}.scores`)
    const known = await readScores(file, 2 * members.length * heads)
    const values = known ?? new Float32Array(2 * members.length * heads)
    for (let start = 0; known === null && start < members.length; start += CHUNK_PAIRS) {
      const part = members.slice(start, start + CHUNK_PAIRS)
      values.set(await scorePairs(model, rows, part, sides, run), 2 * start * heads)
      run.progress(run.path, done + start + part.length, rows.length)
    }
    if (known === null) await saveScores(file, values)
    members.forEach((row, at) => {
      chosen.values.set(values.subarray(2 * at * heads, (2 * at + 1) * heads), row * heads)
      rejected.values.set(values.subarray((2 * at + 1) * heads, (2 * at + 2) * heads), row * heads)
    })
    done += members.length
    run.progress(run.path, done, rows.length)
  }
  return { chosen, rejected }
}

/** Chosen and rejected in turns, so that what a pair has in common is computed once; [2 * pairs, heads]. */
async function scorePairs(
  model: RewardModel,
  rows: readonly BenchRow[],
  pairs: readonly number[],
  sides: Sides,
  run: SubsetRun,
): Promise<Float32Array> {
  run.signal.throwIfAborted()
  const ids = pairs.flatMap((row) => [sides.chosen.ids[row] as Int32Array, sides.rejected.ids[row] as Int32Array])
  const scored = await model.score({ ids }, { batchTokens: run.batchTokens, signal: run.signal })
  const values = new Float32Array(scored.length * model.heads)
  scored.forEach(({ scores }, at) => {
    const broken = scores.findIndex((score) => !Number.isFinite(score))
    if (broken >= 0) {
      const side = at % 2 === 0 ? 'chosen' : 'rejected'
      const place = `${rows[pairs[at >> 1] as number]?.place}: ${side}`
      throw new PrudentError('E_NON_FINITE', `${place}: head ${broken} of ${run.path} gave ${scores[broken]}`)
    }
    values.set(scores, at * model.heads)
  })
  return values
}

/** What decides a model's scores beside the tokens: its files and the arithmetic. */
async function identity(folder: string, settings: readonly string[]): Promise<string> {
  const names = (await readdir(folder)).filter((name) => /\.(safetensors|bin|json)$/.test(name)).sort()
  const files = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(join(folder, name))
      return [name, size, mtimeMs]
    }),
  )
  return JSON.stringify([folder, files, settings])
}

function fingerprint(key: string, members: readonly number[], { chosen, rejected }: Sides): string {
  const hash = createHash('sha256').update(key)
  for (const row of members) {
    for (const { ids } of [chosen, rejected]) hash.update(`|${ids[row]?.length}|`).update(ids[row] as Int32Array)
  }
  return hash.digest('hex')
}

/** The scores of a subset with their checksum in front; anything else counts as not scored yet. */
async function readScores(file: string, length: number): Promise<Float32Array | null> {
  const bytes = await readFile(file).catch((error: unknown) => {
    if (isMissing(error)) return null
    throw new PrudentError('E_IO', `${file}: cannot be read: ${(error as Error).message}`, { cause: error })
  })
  if (bytes === null || bytes.length !== 32 + 4 * length) return null
  const body = Uint8Array.from(bytes.subarray(32))
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(0, 32))) return null
  return new Float32Array(body.buffer)
}

async function saveScores(file: string, values: Float32Array): Promise<void> {
  await makeFolder(join(file, '..'))
  const body = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  await writeFileAtomic(file, Buffer.concat([createHash('sha256').update(body).digest(), body]))
}

/** The heads of several models side by side, as one ensemble. */
export function joinHeads(models: readonly PairScores[]): PairScores {
  const join = (side: 'chosen' | 'rejected'): ScoreMatrix => {
    const heads = models.reduce((sum, scores) => sum + scores[side].heads, 0)
    const rows = models[0]?.[side].rows ?? 0
    const values = new Float32Array(rows * heads)
    let first = 0
    for (const scores of models) {
      const matrix = scores[side]
      for (let i = 0; i < matrix.values.length; i += 1) {
        const [row, head] = [Math.floor(i / matrix.heads), i % matrix.heads]
        values[row * heads + first + head] = matrix.values[i] as number
      }
      first += matrix.heads
    }
    return { values, rows, heads }
  }
  return { chosen: join('chosen'), rejected: join('rejected') }
}
