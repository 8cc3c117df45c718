import { PrudentError } from '../errors.js'
import {
  type Conversation,
  isEmptyConversation,
  parseMessages,
  renderConversation,
  sameConversation,
} from './conversation.js'
import { countDropped, type DataReport, emptyReport } from './report.js'
import { kindOf, type Row, rowPlace } from './rows.js'
import type { Tokenizer } from './tokenizer.js'

export interface PairColumns {
  /** Column of the prompt; a column named `prompt` is taken by itself where chosen and rejected are texts. */
  prompt?: string | undefined
  chosen: string
  rejected: string
}

export const DEFAULT_PAIR_COLUMNS: PairColumns = { chosen: 'chosen', rejected: 'rejected' }

export interface PreferencePair {
  chosen: Conversation
  rejected: Conversation
  /** The row as it was, for columns such as `subset` and `id`. */
  row: Row
}

export interface TokenisedPairs {
  chosen: Int32Array[]
  rejected: Int32Array[]
  /** Number of each pair's row in `pairs`, so that columns of the row can be found again. */
  source: Int32Array
  pairs: PreferencePair[]
  report: DataReport
}

/**
 * A preference pair of a row, in any of the forms in use: both sides lists of { role, content } (whole conversations, or
 * responses to a prompt column), both sides texts with a prompt column, or both sides whole texts.
 * @returns null, counted in the report, for rows that are null, empty or have identical sides.
 * @throws E_DATA for values of other types.
 */
export function readPair(row: Row, columns: PairColumns, report: DataReport): PreferencePair | null {
  report.rows++
  const place = rowPlace(row)
  const values = [row.values[columns.chosen], row.values[columns.rejected]] as const
  requireColumns(row, columns)
  const promptColumn = columns.prompt ?? ('prompt' in row.values ? 'prompt' : undefined)
  const prompt = promptColumn === undefined ? undefined : row.values[promptColumn]
  const lacksPrompt = promptColumn !== undefined && isNull(prompt) && values.some(needsPrompt)
  if (values.some(isNull) || lacksPrompt) return dropped(report, 'null', place)
  const chosen = sideOf(values[0], prompt, `${place}: ${columns.chosen}`)
  const rejected = sideOf(values[1], prompt, `${place}: ${columns.rejected}`)
  if (isEmptyConversation(chosen) || isEmptyConversation(rejected)) return dropped(report, 'empty', place)
  if (sameConversation(chosen, rejected)) return dropped(report, 'identical', place)
  report.used++
  return { chosen, rejected, row }
}

function requireColumns(row: Row, columns: PairColumns): void {
  for (const column of [columns.chosen, columns.rejected, ...(columns.prompt === undefined ? [] : [columns.prompt])]) {
    if (Object.hasOwn(row.values, column)) continue
    throw new PrudentError(
      'E_DATA',
      `${rowPlace(row)}: no column "${column}"; there is ${Object.keys(row.values).join(', ')}`,
      {
        argument: 'columns',
        received: column,
      },
    )
  }
}

function isNull(value: unknown): boolean {
  return value === null || value === undefined
}

function dropped(report: DataReport, kind: 'null' | 'empty' | 'identical', place: string): null {
  countDropped(report, kind, place)
  return null
}

/** A text or a list that starts with the assistant is the response alone; a whole conversation repeats its prompt. */
function needsPrompt(value: unknown): boolean {
  return typeof value === 'string' || (Array.isArray(value) && value[0]?.role === 'assistant')
}

export function sideOf(value: unknown, prompt: unknown, place: string): Conversation {
  if (Array.isArray(value)) {
    const messages = parseMessages(value, place)
    const before = prompt !== undefined && prompt !== null && needsPrompt(value) ? promptMessages(prompt, place) : []
    return { messages: [...before, ...messages] }
  }
  if (typeof value !== 'string') {
    const received = kindOf(value)
    throw new PrudentError('E_DATA', `${place}: expected text or a list of messages, received ${received}`, {
      received,
    })
  }
  if (prompt === undefined) return { text: value }
  return { messages: [...promptMessages(prompt, place), { role: 'assistant', content: value }] }
}

function promptMessages(prompt: unknown, place: string) {
  return typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : parseMessages(prompt, `${place}, prompt`)
}

/** Pairs of rows, with the report of those that cannot be used. */
export async function readPairs(
  rows: AsyncIterable<Row>,
  columns: PairColumns = DEFAULT_PAIR_COLUMNS,
): Promise<{ pairs: PreferencePair[]; report: DataReport }> {
  const report = emptyReport()
  const pairs: PreferencePair[] = []
  for await (const row of rows) {
    const pair = readPair(row, columns, report)
    if (pair !== null) pairs.push(pair)
  }
  return { pairs, report }
}

/**
 * Token ids of both sides. Sides longer than `maxLength` are cut on the left or the pair is dropped; pairs whose sides have
 * become the same tokens are dropped and counted as identical.
 */
export async function tokenisePairs(
  tokenizer: Tokenizer,
  pairs: readonly PreferencePair[],
  options: { maxLength: number; overLong: 'truncate-left' | 'drop'; report?: DataReport },
): Promise<TokenisedPairs> {
  const report = options.report ?? { ...emptyReport(), rows: pairs.length, used: pairs.length }
  const chosenIds = await encodeSides(tokenizer, pairs, 'chosen')
  const rejectedIds = await encodeSides(tokenizer, pairs, 'rejected')
  const [chosen, rejected, source]: [Int32Array[], Int32Array[], number[]] = [[], [], []]
  for (const [index, pair] of pairs.entries()) {
    const sides = [chosenIds[index] as Int32Array, rejectedIds[index] as Int32Array]
    const isLong = sides.some((ids) => ids.length > options.maxLength)
    const place = rowPlace(pair.row)
    const cut = sides.map((ids) => tokenizer.truncate(ids, options.maxLength))
    if (isLong && options.overLong === 'drop') {
      countDropped(report, 'overLong', place)
    } else if (cut.some((ids) => ids.length === 0)) {
      countDropped(report, 'empty', place)
    } else if (sameIds(cut[0] as Int32Array, cut[1] as Int32Array)) {
      countDropped(report, 'identical', place)
    } else {
      if (isLong) report.truncated++
      chosen.push(cut[0] as Int32Array)
      rejected.push(cut[1] as Int32Array)
      source.push(index)
      continue
    }
    report.used--
  }
  return { chosen, rejected, source: Int32Array.from(source), pairs: [...pairs], report }
}

/** Pairs rendered at once; the texts of a large data set are never all in memory. */
const RENDER_CHUNK = 256

async function encodeSides(
  tokenizer: Tokenizer,
  pairs: readonly PreferencePair[],
  name: 'chosen' | 'rejected',
): Promise<Int32Array[]> {
  const ids: Int32Array[] = []
  for (let start = 0; start < pairs.length; start += RENDER_CHUNK) {
    const texts = pairs.slice(start, start + RENDER_CHUNK).map((pair) => renderPlaced(tokenizer, pair[name], pair.row))
    ids.push(...(await tokenizer.encodeBatch(texts)))
  }
  return ids
}

function renderPlaced(tokenizer: Tokenizer, conversation: Conversation, row: Row): string {
  try {
    return renderConversation(tokenizer, conversation)
  } catch (cause) {
    if (!(cause instanceof PrudentError)) throw cause
    throw new PrudentError(cause.code, `${rowPlace(row)}: ${cause.message}`, { cause })
  }
}

function sameIds(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index])
}
