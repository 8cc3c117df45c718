import { callNative } from '../addon/call.js'
import { loadAddon } from '../addon/load.js'
import type { NativeModel } from '../addon/native.js'
import { type EpochPosition, Epochs, packRows } from '../data/batching.js'
import { Random } from '../data/random.js'
import { argumentError } from '../errors.js'
import { adamwOptions, contextOptions } from './optimiser.js'
import { rowNames, takeRows } from './rows.js'
import { learningRate, totalSteps } from './schedule.js'
import { SmoothedLoss, type SmoothedLossState } from './smoothed-loss.js'
import { callSignal, joinOptimiserSave, loadOptimiser, runLoop, saveModelAndOptimiser } from './step-loop.js'
import type { LanguageModelResult, LanguageModelTraining } from './types.js'

type State = { position: EpochPosition; loss: SmoothedLossState; batchTokens: number }

/** Trains a causal language model in place on next-token cross-entropy. */
export async function trainLanguageModel(training: LanguageModelTraining): Promise<LanguageModelResult> {
  const { model, rows, settings, checkpoint } = training
  const signal = callSignal(training)
  if (rows.length === 0) throw argumentError('E_DATA', 'rows', 'at least one text', 'none')
  const saved = checkpoint?.state as State | undefined
  const random = Random.from(settings.seed, 'language-model')
  const epochs = new Epochs({
    count: rows.length,
    batchSize: settings.batchSize,
    random,
    ...(saved && { position: saved.position }),
  })
  const smoothed = new SmoothedLoss(settings.stopAt, saved?.loss)
  const total = totalSteps(settings, epochs.batchesPerEpoch)
  const { batchTokens, activationCheckpointing, activationMemory, updateInBackward } = settings
  const options = {
    ...adamwOptions(settings.optimiser),
    ...contextOptions(training, settings),
    ...{ batchTokens, activationCheckpointing, activationMemory, updateInBackward },
  }
  const trainer = await callNative(undefined, () => loadAddon().createLanguageModelTrainer(model, options))
  let position = epochs.position
  let tried: readonly number[] = []

  async function step(index: number) {
    const batch = epochs.next()
    tried = Array.from(batch.rows)
    const lr = learningRate(settings.schedule, settings.optimiser.lr, index, total)
    const { loss, gradNorm, tokens } = await callNative({ signal }, (call) =>
      trainer.step(takeRows(rows, batch.rows), { lr }, call),
    )
    position = epochs.position
    smoothed.add(loss)
    const metrics = {
      'train/loss': loss,
      'train/smoothed_loss': smoothed.value,
      'train/grad_norm': gradNorm,
      'train/lr': lr,
    }
    return { ...metrics, 'train/epoch': batch.epoch, 'train/tokens': tokens }
  }

  const heldOut = training.heldOut ?? []
  const evaluate = async () => ({
    'eval/loss': await languageModelLoss(model, heldOut, { batchTokens: settings.batchTokens, signal }),
  })
  try {
    if (checkpoint) await loadOptimiser(checkpoint, trainer)
    const result = await runLoop(
      {
        total,
        step,
        batch: () => rowNames(tried, training.places),
        evaluate: heldOut.length > 0 ? evaluate : undefined,
        evaluateEvery: settings.evaluateEvery,
        bestBy: 'eval/loss',
        isFinished: () => smoothed.reached,
        state: (): State => ({ position, loss: smoothed.state, batchTokens }),
        save: (folder) => saveModelAndOptimiser(folder, model, trainer),
        ...(settings.shardOptimiser && { joinSave: () => joinOptimiserSave(trainer) }),
      },
      training,
    )
    return { ...result, heldOutLoss: result.metrics.findLast((entry) => 'eval/loss' in entry)?.['eval/loss'] ?? null }
  } finally {
    await trainer.dispose()
  }
}

/** Nats per predicted token; its exponential is the perplexity. */
export async function languageModelLoss(
  model: NativeModel,
  rows: readonly Int32Array[],
  options: { batchTokens: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const logprobs = await callNative(options, (call) =>
    model.logprobs(packRows(rows), { batchTokens: options.batchTokens }, call),
  )
  return -logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length
}
