import type { z } from 'zod'
import { callNative } from '../addon/call.js'
import { loadAddon } from '../addon/load.js'
import type { EpochPosition } from '../data/batching.js'
import { Random } from '../data/random.js'
import { argumentError } from '../errors.js'
import { cachePairFeatures, headMeasures } from './features.js'
import { HeadOrder, ownStreams } from './head-order.js'
import { adamwOptions, contextOptions } from './optimiser.js'
import { meanOf } from './pair-scores.js'
import { rowNames } from './rows.js'
import { learningRate, totalSteps } from './schedule.js'
import type { HeadsSettings, headsSettings } from './settings.js'
import { SmoothedLoss, type SmoothedLossState } from './smoothed-loss.js'
import { callSignal, loadOptimiser, runLoop, saveOptimiser } from './step-loop.js'
import type { EnsembleTraining, HeadStreams, HeadsResult, HeadsTraining } from './types.js'

/** Paper, table 4: as table 2, half an epoch, until the heads' mean loss is near 0.2. */
export const PAPER_HEADS = {
  batchSize: 32,
  epochs: 0.5,
  heads: 10,
  optimiser: { lr: 1e-5, weightDecay: 0.001, maxGradNorm: 1 },
  schedule: { shape: 'cosine', warmupRatio: 0.03 },
  init: { kind: 'keep-first', std: 0.02 },
  stopAt: { loss: 0.2 },
} as const satisfies z.input<typeof headsSettings>

type State = { position: EpochPosition; mean: SmoothedLossState; heads: SmoothedLossState[] }

/** Trains n reward heads on cached features of a frozen base; their losses are independent, one step moves all. */
export async function trainHeads(training: HeadsTraining): Promise<HeadsResult> {
  const { features, settings, checkpoint } = training
  const signal = callSignal(training)
  const { hidden } = features.cache.info()
  if (features.chosen.length === 0) throw argumentError('E_DATA', 'features', 'at least one pair', 'none')
  const saved = checkpoint?.state as State | undefined
  const streams = training.streams ?? ownStreams(settings.heads)
  if (streams.length !== settings.heads)
    throw argumentError('E_SHAPE', 'streams', `${settings.heads} entries, one a head`, String(streams.length))
  const order = new HeadOrder(features.chosen.length, settings, saved?.position, streams)
  const total = totalSteps(settings, order.batchesPerEpoch)
  const mean = new SmoothedLoss(settings.stopAt, saved?.mean)
  const each = Array.from(
    { length: settings.heads },
    (_, head) => new SmoothedLoss(settings.stopAt, saved?.heads[head]),
  )
  const initial = initialHeads(settings, hidden, training.firstHead, streams)
  const anchor = settings.anchored ? anchorStrength(settings, features.chosen.length) : 0
  const options = {
    ...adamwOptions(settings.optimiser),
    ...contextOptions(training),
    ...{ heads: settings.heads, initial, anchor },
  }
  const trainer = await callNative(undefined, () => loadAddon().createHeadsTrainer(features.cache, options))
  let position = order.position
  let tried: readonly number[] = []

  async function step(index: number) {
    const batch = order.next()
    tried = [...new Set(batch.pairs)]
    const lr = learningRate(settings.schedule, settings.optimiser.lr, index, total)
    const rowsOf = (side: Int32Array) => batch.pairs.map((pair) => side[pair] as number)
    const [chosen, rejected] = [rowsOf(features.chosen), rowsOf(features.rejected)]
    const result = await callNative({ signal }, (call) =>
      trainer.step(chosen, rejected, { lr, perHead: batch.perHead }, call),
    )
    position = order.position
    mean.add(meanOf(result.lossPerHead))
    for (const [head, smoothed] of each.entries()) smoothed.add(result.lossPerHead[head] as number)
    return {
      'train/loss': meanOf(result.lossPerHead),
      'train/smoothed_loss': mean.value,
      'train/accuracy': meanOf(result.accuracyPerHead),
      'train/grad_norm': result.gradNorm,
      'train/lr': lr,
      'train/epoch': batch.epoch,
      ...perHead('train/loss', result.lossPerHead),
    }
  }

  const heldOut = training.heldOut
  const evaluate = async () => {
    if (heldOut === undefined) return {}
    const measures = await headMeasures(heldOut, await trainer.weights(), settings.heads, signal)
    const means = { 'eval/accuracy': meanOf(measures.accuracy), 'eval/loss': meanOf(measures.loss) }
    return { ...means, ...perHead('eval/accuracy', measures.accuracy) }
  }
  try {
    if (checkpoint) await loadOptimiser(checkpoint, trainer)
    const result = await runLoop(
      {
        total,
        step,
        batch: () => rowNames(tried, features.places),
        evaluate: heldOut && heldOut.chosen.length > 0 ? evaluate : undefined,
        evaluateEvery: settings.evaluateEvery,
        bestBy: 'eval/loss',
        isFinished: () => mean.reached,
        state: (): State => ({ position, mean: mean.state, heads: each.map((smoothed) => smoothed.state) }),
        save: (folder) => saveOptimiser(folder, trainer),
      },
      training,
    )
    const last = result.metrics.findLast((entry) => 'eval/accuracy/0' in entry)
    return {
      ...result,
      weights: await trainer.weights(),
      initial,
      heads: settings.heads,
      hidden,
      lossPerHead: Float32Array.from(each, (smoothed) => smoothed.value),
      heldOutAccuracyPerHead: last
        ? Float32Array.from(each, (_, head) => last[`eval/accuracy/${head}`] as number)
        : null,
    }
  } finally {
    await trainer.dispose()
  }
}

/** Puts trained heads on a sequence classifier whose base stays as it is. */
export async function trainEnsemble(training: EnsembleTraining): Promise<HeadsResult> {
  const { model, pairs, heldOut, settings, signal, ...context } = training
  const { batchTokens, sharePrefixes } = settings
  const options = { batchTokens, sharePrefixes, signal: callSignal(training), group: context.group }
  const hidden = model.info().hiddenSize
  const firstHead =
    settings.init.kind === 'keep-first' ? { firstHead: (await model.scoreWeight()).slice(0, hidden) } : {}
  const features = await cachePairFeatures(model, pairs, options)
  const held = heldOut && heldOut.chosen.length > 0 ? await cachePairFeatures(model, heldOut, options) : undefined
  try {
    const shared = { ...context, ...firstHead, settings, features, ...(signal && { signal }) }
    const result = await trainHeads(held === undefined ? shared : { ...shared, heldOut: held })
    await model.setScoreWeight(result.weights, result.heads)
    return result
  } finally {
    await features.cache.dispose()
    await held?.cache.dispose()
  }
}

/** [heads, hidden]: N(0, std^2) by head and seed, the trained head first where `keep-first` asks for it. */
export function initialHeads(
  settings: HeadsSettings,
  hidden: number,
  firstHead?: Float32Array,
  streams: readonly Pick<HeadStreams, 'init'>[] = ownStreams(settings.heads),
): Float32Array {
  const random = Random.from(settings.seed, 'heads')
  const weights = new Float32Array(settings.heads * hidden)
  for (let head = 0; head < settings.heads; head++) {
    const stream = random.split('init', (streams[head] as HeadStreams).init)
    for (let index = 0; index < hidden; index++) weights[head * hidden + index] = stream.normal(0, settings.init.std)
  }
  if (settings.init.kind === 'all-new') return weights
  if (firstHead?.length !== hidden) {
    throw argumentError(
      'E_SHAPE',
      'firstHead',
      `a trained head of ${hidden} numbers (init.kind is keep-first)`,
      String(firstHead?.length ?? 'none'),
    )
  }
  weights.set(firstHead)
  return weights
}

/** Of the ridge anchor / 2 * |h - h0|^2 beside a loss that is a mean over pairs: the prior N(h0, std^2) has weight 1 / (pairs * std^2). */
export function anchorStrength(settings: HeadsSettings, pairs: number): number {
  if (!(settings.init.std > 0))
    throw argumentError('E_RANGE', 'init.std', 'a number > 0 for anchored heads', String(settings.init.std))
  return 1 / (pairs * settings.init.std ** 2)
}

function perHead(name: string, values: Float32Array): Record<string, number> {
  return Object.fromEntries(Array.from(values, (value, head) => [`${name}/${head}`, value]))
}
