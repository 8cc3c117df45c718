import { trainRewardModel } from '../../training/reward.js'
import type { Session } from '../support/session.js'
import type { TrainOptions } from '../train.js'
import { withBatchTokens } from './micro-batch.js'
import { loadPairs } from './pairs.js'
import { type RewardRun, rewardRun } from './schemas.js'
import { openTrained, resolveWithTokenizer, type Start, saveResult, startTraining } from './start.js'

/** `prudent train reward` */
export async function trainRewardCommand(session: Session, options: TrainOptions): Promise<void> {
  await startTraining(session, options, rewardRun, (start) => train(session, start))
}

async function train(session: Session, start: Start<RewardRun>) {
  const { config, run, checkpoint, context } = start
  const { folder, tokenizer } = await resolveWithTokenizer(session, config.model, config.tokenizer)
  const pairs = await loadPairs(session, config.data, config.heldOut, tokenizer)
  const model = await openTrained(session, folder, checkpoint, {
    task: 'sequence-classification',
    dtype: config.dtype,
    device: config.device,
    allowNewHead: true,
    numLabels: 1,
    seed: config.headSeed,
  })
  try {
    const result = await trainRewardModel({
      ...context,
      model,
      pairs: pairs.train,
      heldOut: pairs.heldOut,
      settings: await withBatchTokens(session, start, model, config.training),
    })
    await saveResult(run, model, tokenizer.folder)
    const { steps, stoppedEarly, heldOutAccuracy, heldOutLoss } = result
    return { steps, stoppedEarly, heldOutAccuracy, heldOutLoss }
  } finally {
    await model.dispose()
  }
}
