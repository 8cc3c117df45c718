import { trainSource } from '../../uncertainty/fit.js'
import type { Session } from '../support/session.js'
import type { TrainOptions } from '../train.js'
import { loadPairs } from './pairs.js'
import { type EnsembleRun, ensembleRun } from './schemas.js'
import { openModel, resolveWithTokenizer, type Start, saveResult, startTraining } from './start.js'

/** `prudent train ensemble` */
export async function trainEnsembleCommand(session: Session, options: TrainOptions): Promise<void> {
  await startTraining(session, options, ensembleRun, (start) => train(session, start))
}

async function train(session: Session, { config, run, context }: Start<EnsembleRun>) {
  const { folder, tokenizer } = await resolveWithTokenizer(session, config.model, config.tokenizer)
  const pairs = await loadPairs(session, config.data, config.heldOut, tokenizer)
  // The base is frozen and the heads live in the trainer's state, so a resume too begins from the reward model.
  const model = await openModel(session, folder, {
    task: 'sequence-classification',
    dtype: config.dtype,
    device: config.device,
  })
  try {
    const { source, result } = await trainSource({
      ...context,
      model,
      pairs: pairs.train,
      heldOut: pairs.heldOut,
      settings: config.training,
      uncertainty: config.uncertainty,
    })
    await saveResult(run, model, tokenizer.folder, source)
    const { steps, stoppedEarly, heads, lossPerHead, heldOutAccuracyPerHead } = result
    const accuracies = heldOutAccuracyPerHead === null ? null : Array.from(heldOutAccuracyPerHead)
    const losses = Array.from(lossPerHead)
    const uncertainty = source && { source: source.source, ...source.fit }
    return { steps, stoppedEarly, heads, uncertainty, lossPerHead: losses, heldOutAccuracyPerHead: accuracies }
  } finally {
    await model.dispose()
  }
}
