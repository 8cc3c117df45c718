import { packRows } from '../../data/batching.js'
import { PrudentError } from '../../errors.js'
import { type RowOptions, tokeniserFor, withOpenModel } from './model.js'
import type { DataFlowOptions } from './options.js'
import type { RowInput } from './row-inputs.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

const FORMS = ['prompt and response', 'messages', 'text', 'input_ids'] as const

/** `prudent score`: scores of all heads for every row. */
export async function runScore(session: Session, options: RowOptions & DataFlowOptions): Promise<void> {
  await streamRows(session, { ...options, label: 'scored', forms: FORMS }, (process) =>
    withOpenModel(session, options, 'sequence-classification', async (model) => {
      const tokeniser = tokeniserFor(model, options)
      const heads = model.info.numLabels
      await process(async (rows) => {
        const ids = await tokeniser.tokenise(rows)
        const scores = await model.native.score(packRows(ids), { batchTokens: options.batchTokens }, model.call)
        return rows.map((row, index) => describeScores(scores.subarray(index * heads, (index + 1) * heads), row))
      })
    }),
  )
}

/** Scores of one row with their mean and standard deviation over heads (ddof 1; null for one head). */
function describeScores(scores: Float32Array, row: RowInput): { scores: number[]; mean: number; std: number | null } {
  const values = Array.from(scores)
  const broken = values.findIndex((value) => !Number.isFinite(value))
  if (broken >= 0) {
    throw new PrudentError('E_NON_FINITE', `${row.place}: head ${broken} gave ${values[broken]}`, {
      received: String(values[broken]),
    })
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { scores: values, mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null }
}
