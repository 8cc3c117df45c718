import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { callNative } from '../addon/call.js'
import type { NativeModel, NativeTrainer } from '../addon/native.js'
import { PrudentError } from '../errors.js'
import type { Checkpoint } from '../run/checkpoints.js'
import type { StepMetrics, TrainingContext, TrainingResult } from './types.js'

/** What differs between the loops; the rest (order of things, saving, stopping) is runLoop's. */
export interface StepLoop {
  /** Steps at most. */
  total: number
  /** Takes step `index` (from 0). Fails without a trace: weights, optimiser and `state()` are as they were. */
  step(index: number): Promise<Record<string, number>>
  /** Measures on held-out data; `evaluateEvery` steps apart and at the end. */
  evaluate?: (() => Promise<Record<string, number>>) | undefined
  evaluateEvery?: number | undefined
  /** Metric of `evaluate` that marks the best checkpoint; lower is better. */
  bestBy?: string
  /** Whether to end before `total`. */
  isFinished?(): boolean
  /** Everything that is not in `save`d files: data position, smoothed loss, controllers. */
  state(): Record<string, unknown>
  /** Writes weights and optimiser into a folder. */
  save(folder: string): Promise<void>
  /** What a rank that writes nothing does while another one saves. */
  joinSave?(): Promise<void>
}

/**
 * Steps from a checkpoint (or the start) to the end. On an abort the state after the last complete step is saved, then E_CANCELLED
 * is thrown; every other failure leaves the last checkpoint to go on from.
 */
export async function runLoop(loop: StepLoop, context: TrainingContext): Promise<TrainingResult> {
  const runner = new LoopRunner(loop, context)
  try {
    await runner.toEnd()
  } catch (error) {
    if (isCancelled(error)) await runner.saveUnsaved()
    throw error
  }
  return { steps: runner.done, stoppedEarly: runner.done < loop.total, metrics: runner.metrics }
}

class LoopRunner {
  readonly metrics: StepMetrics[]
  readonly #loop: StepLoop
  readonly #context: TrainingContext
  done: number
  #saved: number

  constructor(loop: StepLoop, context: TrainingContext) {
    this.#loop = loop
    this.#context = context
    this.done = context.checkpoint?.step ?? 0
    this.#saved = this.done
    this.metrics = [...(context.run?.metrics ?? [])]
  }

  async toEnd(): Promise<void> {
    const { signal } = this.#context
    if (this.done > 0) await this.#evaluateIfCutShort()
    while (!this.#isOver()) {
      await this.#stopIfAsked(signal)
      await this.#oneStep()
    }
  }

  /** Ranks agree on it: one that stopped by itself would leave the others waiting in the step. */
  async #stopIfAsked(signal: AbortSignal | undefined): Promise<void> {
    const { group } = this.#context
    if (group === undefined) return throwIfAborted(signal)
    const [asked = 0] = await callNative(undefined, () => group.sum(Float32Array.of(signal?.aborted ? 1 : 0)))
    if (asked > 0) throw new PrudentError('E_CANCELLED', 'stopped', { cause: signal?.reason })
  }

  async saveUnsaved(): Promise<void> {
    if (this.done > this.#saved) await this.#save()
  }

  #isOver(): boolean {
    return this.done >= this.#loop.total || (this.#loop.isFinished?.() ?? false)
  }

  async #oneStep(): Promise<void> {
    const values = await this.#loop.step(this.done)
    this.done++
    let cancelled: unknown
    if (this.#isEvaluationDue()) {
      try {
        Object.assign(values, await this.#loop.evaluate?.())
      } catch (error) {
        // The step itself counts; its evaluation is made up for after the resume.
        if (!isCancelled(error)) throw error
        cancelled = error
      }
    }
    await this.#log({ step: this.done, ...values })
    if (cancelled !== undefined) throw cancelled
    const every = this.#context.saving?.everySteps ?? Number.POSITIVE_INFINITY
    if (this.done % every === 0) await this.#save()
  }

  #isEvaluationDue(): boolean {
    const { evaluate, evaluateEvery } = this.#loop
    return (
      evaluate !== undefined && (this.#isOver() || (evaluateEvery !== undefined && this.done % evaluateEvery === 0))
    )
  }

  async #evaluateIfCutShort(): Promise<void> {
    const isMissing = !this.metrics.some(
      (entry) => entry.step === this.done && Object.keys(entry).some((name) => name.startsWith('eval/')),
    )
    if (!this.#isEvaluationDue() || !isMissing) return
    await this.#log({ step: this.done, ...(await this.#loop.evaluate?.()) })
  }

  async #log(entry: StepMetrics): Promise<void> {
    this.metrics.push(entry)
    await this.#context.run?.log(entry)
    this.#context.onStep?.(entry, this.#loop.total)
  }

  async #save(): Promise<void> {
    const { run } = this.#context
    if (run === undefined) {
      if (this.#context.group !== undefined && this.#context.saving !== undefined) await this.#loop.joinSave?.()
      this.#saved = this.done
      return
    }
    const loss = this.#loop.bestBy === undefined ? undefined : this.metrics.at(-1)?.[this.#loop.bestBy]
    const options = { state: this.#loop.state(), ...(loss === undefined ? {} : { loss }) }
    await run.saveCheckpoint(this.done, (folder) => this.#loop.save(folder), options)
    this.#saved = this.done
  }
}

/** What stops the native calls of a loop: with ranks nothing does, they stop together between steps. */
export function callSignal(context: TrainingContext): AbortSignal | undefined {
  return context.group === undefined ? context.signal : undefined
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new PrudentError('E_CANCELLED', 'stopped', { cause: signal.reason })
}

function isCancelled(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'E_CANCELLED'
}

const OPTIMISER_FILE = 'optimiser.safetensors'

/** The model folder inside a checkpoint: open the model from here to go on. */
export function checkpointModel(checkpoint: Checkpoint): string {
  return join(checkpoint.folder, 'model')
}

/** What a checkpoint of a trained model holds. */
export async function saveModelAndOptimiser(folder: string, model: NativeModel, trainer: NativeTrainer): Promise<void> {
  await callNative(undefined, (call) => model.save(join(folder, 'model'), {}, call))
  await saveOptimiser(folder, trainer)
}

export async function saveOptimiser(folder: string, trainer: NativeTrainer): Promise<void> {
  await mkdir(folder, { recursive: true })
  await callNative(undefined, () => trainer.saveState(join(folder, OPTIMISER_FILE)))
}

/** Hands this rank's shard of the optimiser to the one that writes. */
export async function joinOptimiserSave(trainer: NativeTrainer): Promise<void> {
  await callNative(undefined, () => trainer.saveState(''))
}

export async function loadOptimiser(checkpoint: Checkpoint, trainer: NativeTrainer): Promise<void> {
  await callNative(undefined, () => trainer.loadState(join(checkpoint.folder, OPTIMISER_FILE)))
}
