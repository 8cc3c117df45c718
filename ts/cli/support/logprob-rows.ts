import { packRows } from '../../data/batching.js'
import { PrudentError } from '../../errors.js'
import { type RowOptions, tokeniserFor, withOpenModel } from './model.js'
import type { DataFlowOptions } from './options.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

/** `prudent logprobs`: ln p(token | tokens before it) for every token after the first. */
export async function runLogprobs(session: Session, options: RowOptions & DataFlowOptions): Promise<void> {
  await streamRows(session, { ...options, label: 'read', forms: ['text', 'input_ids'] }, (process) =>
    withOpenModel(session, options, 'causal-lm', async (model) => {
      const tokeniser = tokeniserFor(model, options)
      await process(async (rows) => {
        const ids = await tokeniser.tokenise(rows)
        const values = await model.native.logprobs(packRows(ids), { batchTokens: options.batchTokens }, model.call)
        let start = 0
        return rows.map((row, index) => {
          const end = start + (ids[index] as Int32Array).length - 1
          const logprobs = Array.from(values.subarray(start, end))
          start = end
          const broken = logprobs.findIndex((value) => !Number.isFinite(value))
          if (broken >= 0)
            throw new PrudentError('E_NON_FINITE', `${row.place}: token ${broken + 1} gave ${logprobs[broken]}`)
          return { logprobs }
        })
      })
    }),
  )
}
