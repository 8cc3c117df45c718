import { Policy } from '../../addon/policy.js'
import { PrudentError } from '../../errors.js'
import { type RowOptions, tokeniserFor, withModelOf } from './model.js'
import type { DataFlowOptions, SharedPrefixOptions } from './options.js'
import type { RowInput } from './row-inputs.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

/** `prudent logprobs`: ln p(token | tokens before it) for every token after the first. */
export async function runLogprobs(
  session: Session,
  options: RowOptions & DataFlowOptions & SharedPrefixOptions,
): Promise<void> {
  const { batchTokens, sharePrefixes } = options
  const call = { batchTokens, sharePrefixes, signal: session.signal }
  await streamRows(session, { ...options, label: 'read', forms: ['text', 'input_ids'] }, (process) =>
    withModelOf(session, options, Policy.load, async (model, folder) => {
      const tokeniser = tokeniserFor(model, folder, options)
      await process(async (rows) => {
        const logprobs = await model.logprobs({ ids: await tokeniser.tokenise(rows) }, call)
        return rows.map((row, index) => finite(logprobs[index] as Float32Array, row))
      })
    }),
  )
}

function finite(logprobs: Float32Array, row: RowInput): object {
  const broken = logprobs.findIndex((value) => !Number.isFinite(value))
  if (broken < 0) return { logprobs: Array.from(logprobs) }
  const received = String(logprobs[broken])
  throw new PrudentError('E_NON_FINITE', `${row.place}: token ${broken + 1} gave ${received}`, { received })
}
