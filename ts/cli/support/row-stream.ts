import { openBytes, readJsonLines } from '../../data/json-lines.js'
import type { DataFlowOptions } from './options.js'
import { type Output, openOutput } from './output.js'
import { type InputForm, parseRow, type RowInput } from './row-inputs.js'
import type { Session } from './session.js'

/** Rows held in memory at once: enough for full batches sorted by length, little beside a model. */
const WINDOW_ROWS = 1024
const WINDOW_CHARACTERS = 8_000_000

export interface RowFlow extends DataFlowOptions {
  /** Names the progress, e.g. "scored". */
  label: string
  forms: readonly InputForm[]
}

/** Gives one object a row; `firstIndex` is the number of the first row of the window. */
export type WindowHandler = (rows: RowInput[], firstIndex: number) => Promise<object[]>

/**
 * JSON Lines in, JSON Lines out, in order and in bounded memory: rows go through a handler in windows; each result is written
 * with its `index`, the number of the row (blank lines do not count). The output is opened before `work` loads anything, and
 * appears only when all rows are through.
 */
export async function streamRows(
  session: Session,
  flow: RowFlow,
  work: (process: (handle: WindowHandler) => Promise<void>) => Promise<void>,
): Promise<void> {
  const output = await openOutput(flow.output, { overwrite: flow.overwrite ?? false })
  try {
    await work((handle) => pump(session, flow, output, handle))
    session.signal.throwIfAborted()
    await output.commit()
  } finally {
    await output.discard()
  }
}

async function pump(session: Session, flow: RowFlow, output: Output, handle: WindowHandler): Promise<void> {
  const progress = session.progress(flow.label)
  let done = 0
  try {
    for await (const window of windows(flow, session.signal)) {
      session.signal.throwIfAborted()
      const results = await handle(window, done)
      session.signal.throwIfAborted()
      const lines = results.map((result, offset) => `${JSON.stringify({ index: done + offset, ...result })}\n`)
      await output.write(lines.join(''))
      done += window.length
      progress.update(done)
    }
  } finally {
    progress.stop()
  }
}

async function* windows(flow: RowFlow, signal: AbortSignal): AsyncGenerator<RowInput[]> {
  const bytes = openBytes(flow.input)
  // Without this a stop would wait for standard input's next line.
  const stop = () => bytes.destroy(signal.reason as Error)
  signal.addEventListener('abort', stop, { once: true })
  let rows: RowInput[] = []
  let characters = 0
  for await (const { value, line } of readJsonLines(flow.input, bytes)) {
    const row = parseRow(value, flow.input, line, flow.forms)
    rows.push(row)
    characters += sizeOf(row)
    if (rows.length < WINDOW_ROWS && characters < WINDOW_CHARACTERS) continue
    yield rows
    rows = []
    characters = 0
  }
  signal.removeEventListener('abort', stop)
  if (rows.length > 0) yield rows
}

/** Roughly the memory of a row. */
function sizeOf(row: RowInput): number {
  if (row.form === 'input_ids') return row.ids.length * 4
  if (row.form === 'text') return row.text.length
  const messages =
    row.form === 'messages'
      ? row.messages
      : [{ content: row.response }, ...(Array.isArray(row.prompt) ? row.prompt : [{ content: row.prompt }])]
  return messages.reduce((sum, message) => sum + message.content.length, 0)
}
