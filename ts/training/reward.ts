import type { z } from 'zod'
import { callNative } from '../addon/call.js'
import { loadAddon } from '../addon/load.js'
import type { NativeModel, NativeProcessGroup } from '../addon/native.js'
import { type EpochPosition, Epochs, packRows } from '../data/batching.js'
import { Random } from '../data/random.js'
import { argumentError } from '../errors.js'
import { adamwOptions, contextOptions } from './optimiser.js'
import { meanOf, measurePairs, type PairMeasures } from './pair-scores.js'
import { rowNames, takeRows } from './rows.js'
import { learningRate, totalSteps } from './schedule.js'
import type { rewardSettings } from './settings.js'
import { SmoothedLoss, type SmoothedLossState } from './smoothed-loss.js'
import { callSignal, joinOptimiserSave, loadOptimiser, runLoop, saveModelAndOptimiser } from './step-loop.js'
import type { RewardResult, RewardTraining, TokenPairs } from './types.js'

/** Paper, table 2; the rest are the defaults of transformers' Trainer and of the script that the data comes with. */
export const PAPER_REWARD = {
  batchSize: 32,
  epochs: 1,
  optimiser: { lr: 1e-5, weightDecay: 0.001, maxGradNorm: 1 },
  schedule: { shape: 'cosine', warmupRatio: 0.03 },
  stopAt: { loss: 0.3 },
} as const satisfies z.input<typeof rewardSettings>

type State = { position: EpochPosition; loss: SmoothedLossState; batchTokens: number }

/** Fine-tunes a sequence classifier in place on preference pairs (Bradley-Terry). */
export async function trainRewardModel(training: RewardTraining): Promise<RewardResult> {
  const { model, pairs, settings, checkpoint, group } = training
  const signal = callSignal(training)
  if (pairs.chosen.length === 0) throw argumentError('E_DATA', 'pairs', 'at least one pair', 'none')
  const saved = checkpoint?.state as State | undefined
  const random = Random.from(settings.seed, 'reward')
  const count = pairs.chosen.length
  const epochs = new Epochs({
    count,
    batchSize: settings.batchSize,
    random,
    ...(saved && { position: saved.position }),
  })
  const smoothed = new SmoothedLoss(settings.stopAt, saved?.loss)
  const total = totalSteps(settings, epochs.batchesPerEpoch)
  const { batchTokens, sharePrefixes, activationCheckpointing, activationMemory, updateInBackward } = settings
  const options = {
    ...adamwOptions(settings.optimiser),
    ...contextOptions(training, settings),
    ...{ batchTokens, sharePrefixes, activationCheckpointing, activationMemory, updateInBackward },
  }
  const trainer = await callNative(undefined, () => loadAddon().createRewardTrainer(model, options))
  let position = epochs.position
  let tried: readonly number[] = []

  async function step(index: number) {
    const batch = epochs.next()
    tried = Array.from(batch.rows)
    const lr = learningRate(settings.schedule, settings.optimiser.lr, index, total)
    const [chosen, rejected] = [takeRows(pairs.chosen, batch.rows), takeRows(pairs.rejected, batch.rows)]
    const result = await callNative({ signal }, (call) => trainer.step(chosen, rejected, { lr }, call))
    position = epochs.position
    // The step's loss is the sum over heads; early stop and plots speak of one head.
    const loss = meanOf(result.lossPerHead)
    smoothed.add(loss)
    const metrics = { 'train/loss': loss, 'train/smoothed_loss': smoothed.value, 'train/accuracy': result.accuracy }
    return {
      ...metrics,
      'train/grad_norm': result.gradNorm,
      'train/lr': lr,
      'train/epoch': batch.epoch,
      'train/tokens': result.tokens,
      'train/computed_tokens': result.computedTokens,
    }
  }

  const heldOut = training.heldOut
  const evaluate = async () => {
    const { accuracy, loss } = await rewardMeasures(model, heldOut as TokenPairs, {
      batchTokens,
      sharePrefixes,
      signal,
      group,
    })
    return { 'eval/accuracy': meanOf(accuracy), 'eval/loss': meanOf(loss) }
  }
  try {
    if (checkpoint) await loadOptimiser(checkpoint, trainer)
    const result = await runLoop(
      {
        total,
        step,
        batch: () => rowNames(tried, pairs.places),
        evaluate: heldOut && heldOut.chosen.length > 0 ? evaluate : undefined,
        evaluateEvery: settings.evaluateEvery,
        bestBy: 'eval/loss',
        isFinished: () => smoothed.reached,
        state: (): State => ({ position, loss: smoothed.state, batchTokens }),
        save: (folder) => saveModelAndOptimiser(folder, model, trainer),
        ...(settings.shardOptimiser && { joinSave: () => joinOptimiserSave(trainer) }),
      },
      training,
    )
    const last = result.metrics.findLast((entry) => 'eval/accuracy' in entry)
    return { ...result, heldOutAccuracy: last?.['eval/accuracy'] ?? null, heldOutLoss: last?.['eval/loss'] ?? null }
  } finally {
    await trainer.dispose()
  }
}

/** Accuracy and loss of a sequence classifier on pairs, per head. */
export async function rewardMeasures(
  model: NativeModel,
  pairs: TokenPairs,
  options: {
    batchTokens: number
    sharePrefixes?: boolean
    signal?: AbortSignal | undefined
    group?: NativeProcessGroup | undefined
  },
): Promise<PairMeasures> {
  const { batchTokens, sharePrefixes = true, signal, group } = options
  const rows = packRows([...pairs.chosen, ...pairs.rejected])
  const scores = await callNative({ signal }, (call) => model.score(rows, { batchTokens, sharePrefixes, group }, call))
  const half = scores.length / 2
  return measurePairs(scores.subarray(0, half), scores.subarray(half), model.info().numLabels)
}
