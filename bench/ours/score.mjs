import { RewardModel } from '../../dist/ts/index.js'
import { heldBytes, timed } from './timed.mjs'

/** Scores rows. `sharePrefixes`: whether what rows have in common at their beginning is computed once; `prefix`: what the model keeps of it. */
export async function load({ folder, dtype, int8 = false, rows, sharePrefixes = false, prefix }) {
  const model = await RewardModel.load(folder, { dtype, int8 })
  if (prefix) await model.setPrefix(prefix)
  const call = () => model.score({ ids: rows }, { sharePrefixes })
  const tokens = rows.reduce((sum, row) => sum + row.length, 0)
  return {
    held: heldBytes(model.info, { training: false }),
    check: async () => ({ scores: (await call()).flatMap(({ scores }) => [...scores]) }),
    run: async () => ({ seconds: (await timed(call)).seconds, tokens }),
  }
}
