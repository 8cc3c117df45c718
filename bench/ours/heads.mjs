import { HeadsTrainer, RewardModel } from '../../dist/ts/index.js'
import { heldBytes, timed } from './timed.mjs'

/** Heads on a frozen base. `phase` of a run: 'forward' (scores alone), 'first' (features and an epoch) or 'later' (an epoch on features). */
export async function load({ folder, dtype, chosen, rejected, heads, initial, lr, batch }) {
  const model = await RewardModel.load(folder, { dtype })
  const ids = [...chosen, ...rejected]
  const tokens = ids.reduce((sum, row) => sum + row.length, 0)
  const trainerOn = (features) =>
    HeadsTrainer.create(features, { heads, initial: Float32Array.from(initial), maxGradNorm: 0 })
  const pairs = chosen.length
  const epoch = async (trainer) => {
    const losses = []
    for (let from = 0; from < pairs; from += batch) {
      const rows = Int32Array.from({ length: Math.min(batch, pairs - from) }, (_, row) => from + row)
      const { lossPerHead } = await trainer.step({ chosen: rows, rejected: rows.map((row) => row + pairs) }, { lr })
      losses.push(...lossPerHead)
    }
    return losses
  }
  const first = async () => {
    const features = await model.features({ ids })
    const trainer = await trainerOn(features)
    const losses = await epoch(trainer)
    await trainer.dispose()
    await features.dispose()
    return losses
  }
  const kept = await trainerOn(await model.features({ ids }))
  const phases = { forward: () => model.score({ ids }), first, later: () => epoch(kept) }
  return {
    held: heldBytes(model.info, { training: false }),
    check: async () => ({ losses: await first() }),
    run: async ({ phase }) => ({ seconds: (await timed(phases[phase])).seconds, tokens }),
  }
}
