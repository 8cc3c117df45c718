import { readJsonLines } from '../../data/json-lines.js'
import type { DataFlowOptions } from './options.js'
import { openOutput } from './output.js'
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

/**
 * JSON Lines in, JSON Lines out, in order and in bounded memory: rows go through `handle` in windows, which gives one object
 * a row; each is written with its `index`, the number of the row (blank lines do not count).
 */
export async function streamRows(
  session: Session,
  flow: RowFlow,
  open: () => Promise<(rows: RowInput[], firstIndex: number) => Promise<object[]>>,
): Promise<void> {
  const output = await openOutput(flow.output, { overwrite: flow.overwrite ?? false })
  try {
    const handle = await open()
    const progress = session.progress(flow.label)
    let done = 0
    try {
      for await (const window of windows(flow)) {
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
    session.signal.throwIfAborted()
    await output.commit()
  } finally {
    await output.discard()
  }
}

async function* windows(flow: RowFlow): AsyncGenerator<RowInput[]> {
  let rows: RowInput[] = []
  let characters = 0
  for await (const { value, line } of readJsonLines(flow.input)) {
    const row = parseRow(value, flow.input, line, flow.forms)
    rows.push(row)
    characters += sizeOf(row)
    if (rows.length < WINDOW_ROWS && characters < WINDOW_CHARACTERS) continue
    yield rows
    rows = []
    characters = 0
  }
  if (rows.length > 0) yield rows
}

/** Roughly the memory of a row. */
function sizeOf(row: RowInput): number {
  if (row.form === 'input_ids') return row.ids.length * 4
  if (row.form === 'text') return row.text.length
  const messages = row.form === 'messages' ? row.messages : [{ content: row.response }, ...(Array.isArray(row.prompt) ? row.prompt : [{ content: row.prompt }])]
  return messages.reduce((sum, message) => sum + message.content.length, 0)
}
