import { RewardModel, RewardTrainer } from '../../dist/ts/index.js'
import { heldBytes, timed } from './timed.mjs'

/** Full fine-tune Bradley-Terry steps. `trainer`: further options of RewardTrainer. */
export async function load({ folder, dtype, chosen, rejected, lr, batchTokens, trainer: more = {} }) {
  const model = await RewardModel.load(folder, { dtype })
  const trainer = await RewardTrainer.create(model, { batchTokens, maxGradNorm: 1, ...more })
  const tokens = [...chosen, ...rejected].reduce((sum, row) => sum + row.length, 0)
  const step = () => trainer.step({ chosen, rejected }, { lr })
  return {
    held: heldBytes(model.info, { training: true }),
    // The second loss is right only if the first update was.
    check: async () => {
      const steps = [await step(), await step()]
      const [first, second] = steps.map(({ loss, gradNorm }) => ({ loss: [loss], gradNorm: [gradNorm] }))
      return { ...first, lossAfter: second.loss, gradNormAfter: second.gradNorm }
    },
    run: async () => ({ seconds: (await timed(step)).seconds, tokens }),
  }
}
