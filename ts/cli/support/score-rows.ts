import type { ModelOptions } from '../../addon/model.js'
import { RewardModel, type RowScore } from '../../addon/reward-model.js'
import { PrudentError } from '../../errors.js'
import { type RowOptions, tokeniserFor, withModelOf } from './model.js'
import type { DataFlowOptions, Int8Options, SharedPrefixOptions } from './options.js'
import type { RowInput } from './row-inputs.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

const FORMS = ['prompt and response', 'messages', 'text', 'input_ids'] as const

/** `prudent score`: scores of all heads for every row. */
export async function runScore(
  session: Session,
  options: RowOptions & DataFlowOptions & SharedPrefixOptions & Int8Options,
): Promise<void> {
  const { batchTokens, sharePrefixes, int8 = false } = options
  const call = { batchTokens, sharePrefixes, signal: session.signal }
  const load = (folder: string, how: ModelOptions) => RewardModel.load(folder, { ...how, int8 })
  await streamRows(session, { ...options, label: 'scored', forms: FORMS }, (process) =>
    withModelOf(session, options, load, async (model, folder) => {
      const tokeniser = tokeniserFor(model, folder, options)
      await process(async (rows) => {
        const scores = await model.score({ ids: await tokeniser.tokenise(rows) }, call)
        return rows.map((row, index) => finite(scores[index] as RowScore, row))
      })
    }),
  )
}

/** JSON has no NaN and no infinity: such a score is a failure, never a null in the output. */
function finite({ scores, mean, std }: RowScore, row: RowInput): object {
  const broken = scores.findIndex((score) => !Number.isFinite(score))
  if (broken < 0) return { scores: Array.from(scores), mean, std }
  const received = String(scores[broken])
  throw new PrudentError('E_NON_FINITE', `${row.place}: head ${broken} gave ${received}`, { received })
}
