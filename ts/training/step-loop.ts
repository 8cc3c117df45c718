import { join } from 'node:path'
import { callNative } from '../addon/call.js'
import type { NativeModel, NativeTrainer } from '../addon/native.js'
import { PrudentError } from '../errors.js'
import type { Checkpoint } from '../run/checkpoints.js'
import { makeFolder } from '../run/folders.js'
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
  /** Names of the rows of the step that was tried last. */
  batch?(): string[]
}

/**
 * Steps from a checkpoint (or the start) to the end. On an abort the state after the last complete step is saved, then E_CANCELLED
 * is thrown; every other failure leaves the last checkpoint to go on from. A step whose loss or gradient is no number is described in the
 * run's failure/, with its rows and the state that it began from.
 */
export async function runLoop(loop: StepLoop, context: TrainingContext): Promise<TrainingResult> {
  const runner = new LoopRunner(loop, context)
  try {
    await runner.toEnd()
    await context.run?.settled()
  } catch (error) {
    if (isCancelled(error)) {
      await runner.saveUnsaved()
      await context.run?.settled()
    }
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
    const started = performance.now()
    const values = await this.#tryStep()
    values['time/step'] = (performance.now() - started) / 1000
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

  async #tryStep(): Promise<Record<string, number>> {
    try {
      return await this.#loop.step(this.done)
    } catch (error) {
      if (!(error instanceof PrudentError) || error.code !== 'E_NON_FINITE') throw error
      throw await this.#describeFailure(error)
    }
  }

  async #describeFailure(error: PrudentError): Promise<PrudentError> {
    const { run } = this.#context
    const step = this.done + 1
    const rows = this.#loop.batch?.() ?? []
    const { code, message } = error
    const report = { step, code, message, rows, metrics: this.metrics.slice(-FAILURE_METRICS) }
    const save = (folder: string) => this.#loop.save(folder)
    if (run === undefined && this.#context.group !== undefined) await this.#loop.joinSave?.()
    const kept = await run?.saveFailure({ ...report, state: this.#loop.state() }, save).then(
      () => `; ${run.path('failure')} holds the rows and the state that the step began from`,
      (cause: Error) => `; what would explain it could not be kept: ${cause.message}`,
    )
    const named = rows.slice(0, FAILURE_ROWS).join(', ') + (rows.length > FAILURE_ROWS ? ', …' : '')
    const batch = rows.length === 0 ? '' : `; its batch of ${rows.length}: ${named}`
    const text = `step ${step}: ${message}${batch}${kept ?? ''}; ${FAILURE_ADVICE}`
    const { argument, expected, received } = error
    const detail = { ...(argument && { argument }), ...(expected && { expected }), ...(received && { received }) }
    return new PrudentError(code, text, { ...detail, cause: error })
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

/** Steps before a failed one whose numbers are kept with it, and rows of it that the error names. */
const FAILURE_METRICS = 20
const FAILURE_ROWS = 8
const FAILURE_ADVICE =
  'lower optimiser.lr, set optimiser.maxGradNorm, train in float32, or look at these rows; with the same configuration the run goes on from its last checkpoint to the same step'

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
  await callNative(undefined, (call) => model.save(join(folder, 'model'), { sync: false }, call))
  await saveOptimiser(folder, trainer)
}

export async function saveOptimiser(folder: string, trainer: NativeTrainer): Promise<void> {
  await makeFolder(folder)
  await callNative(undefined, () => trainer.saveState(join(folder, OPTIMISER_FILE), { sync: false }))
}

/** Hands this rank's shard of the optimiser to the one that writes. */
export async function joinOptimiserSave(trainer: NativeTrainer): Promise<void> {
  await callNative(undefined, () => trainer.saveState(''))
}

export async function loadOptimiser(checkpoint: Checkpoint, trainer: NativeTrainer): Promise<void> {
  await callNative(undefined, () => trainer.loadState(join(checkpoint.folder, OPTIMISER_FILE)))
}
