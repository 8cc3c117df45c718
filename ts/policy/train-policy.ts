import { callNative } from '../addon/call.js'
import { loadAddon } from '../addon/load.js'
import type { NativePpoTrainer, PpoTrainerOptions } from '../addon/native.js'
import { PPO_DEFAULTS } from '../addon/ppo-trainer.js'
import { type EpochPosition, Epochs, packRows, unpackRows } from '../data/batching.js'
import { deriveSeed, Random } from '../data/random.js'
import { argumentError } from '../errors.js'
import { contextOptions } from '../training/optimiser.js'
import { meanOf } from '../training/pair-scores.js'
import { learningRate } from '../training/schedule.js'
import { callSignal, joinOptimiserSave, loadOptimiser, runLoop, saveModelAndOptimiser } from '../training/step-loop.js'
import { KlController, type KlControllerState } from './kl-control.js'
import { centerOf, checkOutput, createObjective, type Objective, type ObjectiveOutput } from './objectives.js'
import { generateOptions } from './sampling.js'
import { type RunningMoments, ScoreShaper } from './score-shaper.js'
import type { PpoSettings } from './settings.js'
import { pick, promptMeans, type ReferenceSampler, referenceMeans } from './sigma-center.js'
import { StepWarnings } from './step-warnings.js'
import type { HeadScores, PromptSet, TrainPolicyOptions, TrainPolicyResult } from './types.js'

type State = {
  position: EpochPosition
  kl: KlControllerState
  moments: RunningMoments
  referenceMean: number[] | null
  batchTokens: number
}

/**
 * Trains a policy in place by PPO: rollout, scores, objective, step, once a batch of prompts. All random numbers come from
 * `settings.seed` and the step, so policies with one seed meet the same prompts and draws, whatever their objective.
 */
export async function trainPolicy(options: TrainPolicyOptions): Promise<TrainPolicyResult> {
  const { policy, reference, settings } = options
  if (options.prompts.ids.length < settings.batchSize) {
    throw argumentError(
      'E_DATA',
      'prompts',
      `at least one batch of ${settings.batchSize}`,
      String(options.prompts.ids.length),
    )
  }
  const trainer = await callNative(undefined, () =>
    loadAddon().createPpoTrainer(policy, reference, {
      ...PPO_DEFAULTS,
      ...trainerOptions(settings),
      ...contextOptions(options, settings),
    }),
  )
  const member = options.scorer.join?.()
  try {
    if (options.checkpoint) await loadOptimiser(options.checkpoint, trainer)
    const loop = new PolicyLoop(member ? { ...options, scorer: member } : options, trainer)
    const { steps, metrics } = await runLoop(loop, options)
    return { steps, metrics, klCoef: loop.klCoef }
  } finally {
    member?.leave()
    await trainer.dispose()
  }
}

class PolicyLoop {
  readonly total: number
  readonly #options: TrainPolicyOptions
  readonly #settings: PpoSettings
  readonly #trainer: NativePpoTrainer
  readonly #epochs: Epochs
  readonly #objective: Objective
  readonly #warnings: StepWarnings
  #kl: KlController
  #shaper: ScoreShaper
  #position: EpochPosition
  #referenceMean: Float32Array | null
  #tried: readonly number[] = []

  constructor(options: TrainPolicyOptions, trainer: NativePpoTrainer) {
    const { settings, prompts } = options
    const saved = options.checkpoint?.state as State | undefined
    const { signal: _, ...others } = options
    const signal = callSignal(options)
    this.#options = signal === undefined ? others : options
    this.#settings = settings
    this.#trainer = trainer
    const random = Random.from(settings.seed, 'prompts')
    const { batchSize } = settings
    this.#epochs = new Epochs({
      count: prompts.ids.length,
      batchSize,
      random,
      dropLast: true,
      ...(saved && { position: saved.position }),
    })
    this.#position = this.#epochs.position
    this.total = settings.steps ?? settings.epochs * this.#epochs.batchesPerEpoch
    this.#objective = options.objective ?? createObjective(settings.objective)
    this.#kl = new KlController(settings.kl, saved?.kl)
    this.#shaper = new ScoreShaper(settings.score, saved?.moments)
    this.#referenceMean = saved?.referenceMean
      ? Float32Array.from(saved.referenceMean)
      : (options.referenceMean ?? null)
    this.#warnings = new StepWarnings(options.onWarning ?? (() => {}))
    this.#warnings.checkSampling(settings.sampling)
  }

  get klCoef(): number {
    return this.#kl.value
  }

  state(): State {
    const referenceMean = this.#referenceMean === null ? null : Array.from(this.#referenceMean)
    const { batchTokens } = this.#settings
    return { position: this.#position, kl: this.#kl.state, moments: this.#shaper.state, referenceMean, batchTokens }
  }

  async joinSave(): Promise<void> {
    if (this.#settings.shardOptimiser) await joinOptimiserSave(this.#trainer)
  }

  /** The prompts of the step that was tried last. */
  batch(): string[] {
    return this.#tried.map((row) => `prompt ${row} ${JSON.stringify(this.#options.prompts.texts[row])}`)
  }

  save(folder: string): Promise<void> {
    return saveModelAndOptimiser(folder, this.#options.policy, this.#trainer)
  }

  async step(index: number): Promise<Record<string, number>> {
    const { signal } = this.#options
    const settings = this.#settings
    const { rows } = this.#epochs.next()
    this.#tried = Array.from(rows)
    const batch = pick(this.#options.prompts, rows)
    const seed = deriveSeed(settings.seed, 'rollout', index)
    const sampling = generateOptions(settings.sampling, {
      eosTokenIds: this.#options.eosTokenIds,
      seed,
      batchTokens: settings.batchTokens,
    })
    const rollout = await callNative({ signal }, (call) => this.#trainer.rollout(packRows(batch.ids), sampling, call))
    try {
      const heads = await this.#options.scorer.score(batch.texts, unpackRows(rollout.responses), signal)
      const output = await this.#reward(heads, batch, index)
      const shaper = new ScoreShaper(settings.score, this.#shaper.state)
      const scores = this.#finalScores(shaper.shape(output.scores), output.klWeights)
      const lr = learningRate(settings.schedule, settings.optimiser.lr, index, this.total)
      const call = { scores, klWeights: output.klWeights, lr, seed: deriveSeed(settings.seed, 'ppo', index) }
      const stats = await callNative({ signal }, (native) => this.#trainer.step(rollout, call, native))
      const metrics = this.#metrics(stats, output, heads)
      this.#shaper = shaper
      this.#position = this.#epochs.position
      this.#kl.update(metrics['objective/kl'] ?? 0, batch.ids.length)
      this.#warnings.check(index + 1, metrics, settings)
      return metrics
    } finally {
      await rollout.dispose()
    }
  }

  async #reward(scored: HeadScores, batch: PromptSet, index: number): Promise<ObjectiveOutput> {
    if (!(scored?.values instanceof Float32Array) || !(scored.heads >= 1))
      throw argumentError('E_TYPE', 'scorer', '{ values: Float32Array, heads, texts }', typeof scored?.values)
    const { spread } = scored
    const rewards = Array.from({ length: scored.heads }, (_, number) => number).filter((n) => !spread?.includes(n))
    const { head = 0, ensemble = rewards } = this.#options
    for (const number of [head, ...ensemble]) {
      if (!rewards.includes(number)) {
        const known = spread ? `one of the heads ${rewards.join(', ')}` : `a head below ${scored.heads}`
        throw argumentError('E_RANGE', 'head', known, String(number))
      }
    }
    const random = Random.from(this.#settings.seed, 'objective', index)
    const centers = await this.#centers(batch, index)
    if (centers !== null && centers.length !== scored.heads && centers.length !== scored.values.length) {
      const columns = spread ? `${rewards.length} heads and ${spread.length} columns of the spread` : 'one a head'
      throw argumentError('E_SHAPE', 'referenceMean', `${scored.heads} means: ${columns}`, String(centers.length))
    }
    const output = this.#objective({
      scores: scored.values,
      heads: scored.heads,
      proxy: head,
      ensemble,
      spread,
      beta: this.#kl.value,
      centers,
      random,
    })
    return checkOutput(output, batch.ids.length)
  }

  async #centers(batch: PromptSet, index: number): Promise<Float32Array | null> {
    const center =
      this.#options.objective === undefined
        ? centerOf(this.#settings.objective)
        : this.#options.referenceMean
          ? 'reference'
          : 'none'
    if (center === 'none') return null
    const { reference, scorer, eosTokenIds, signal } = this.#options
    const sampler: ReferenceSampler = { reference, scorer, settings: this.#settings, eosTokenIds, signal }
    if (center === 'prompt') return promptMeans(sampler, batch, index)
    this.#referenceMean ??= await referenceMeans(sampler, this.#options.prompts)
    return this.#referenceMean
  }

  /** The gradient of E[w ln(pi/pi0)] holds E[w grad ln pi] too, when w depends on the response: the score loses w. */
  #finalScores(scores: Float32Array, klWeights: Float32Array): Float32Array {
    if (this.#settings.objective.klGradient === 'reward') return scores
    return scores.map((score, row) => score - (klWeights[row] as number))
  }

  #metrics(stats: Record<string, number>, output: ObjectiveOutput, scored: HeadScores): Record<string, number> {
    const reward = spreadOf(output.scores)
    const { head = 0 } = this.#options
    const proxy = spreadOf(output.scores.map((_, row) => scored.values[row * scored.heads + head] as number))
    const metrics: Record<string, number> = {
      ...stats,
      'objective/kl_coef': this.#kl.value,
      'env/reward_mean': reward.mean,
      'env/reward_std': reward.std,
      'env/proxy_mean': proxy.mean,
      'env/proxy_std': proxy.std,
    }
    if (output.sigma === null) return metrics
    const sigma = spreadOf(output.sigma)
    return { ...metrics, 'objective/sigma_mean': sigma.mean, 'objective/sigma_std': sigma.std }
  }
}

function trainerOptions(settings: PpoSettings): PpoTrainerOptions {
  const { beta1, beta2, eps, weightDecay, maxGradNorm } = settings.optimiser
  const { ppoEpochs, miniBatchSize, gamma, lambda, clipRange, clipRangeValue, vfCoef, ratioThreshold } = settings
  const { whitenAdvantages, whitenRewards, earlyStopping, targetKl } = settings
  const { oldLogprobs, shareForward, sharePrefixes } = settings
  return {
    ...PPO_DEFAULTS,
    ...{ beta1, beta2, eps, weightDecay, weightDecayScope: 'all', maxGradNorm },
    ...{ ppoEpochs, miniBatchSize, gamma, lambda, clipRange, clipRangeValue, vfCoef, ratioThreshold },
    ...{ whitenAdvantages, whitenRewards, earlyStopping, targetKl },
    ...{ oldLogprobs, shareForward, sharePrefixes },
    microBatchTokens: settings.batchTokens,
    activationCheckpointing: settings.activationCheckpointing,
    activationMemory: settings.activationMemory,
    updateInBackward: settings.updateInBackward,
    klEstimator: settings.kl.estimator,
  }
}

/** Mean and sample standard deviation (ddof 1, as torch.std). */
function spreadOf(values: Float32Array): { mean: number; std: number } {
  const mean = meanOf(values)
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, std: Math.sqrt(squares / Math.max(1, values.length - 1)) }
}
