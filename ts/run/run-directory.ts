import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PrudentError } from '../errors.js'
import { isMissing, makeFolder, syncPath, syncTree, writeError } from './atomic-files.js'
import { type Checkpoint, Checkpoints } from './checkpoints.js'
import { differingKeys, type PlainConfig, plainConfig, readRunConfig, writeRunConfig } from './config-file.js'
import { lockRun, type RunLock } from './lock.js'
import { finiteOrName, type MetricsEntry, MetricsLog } from './metrics.js'
import type { MlflowTracker } from './mlflow.js'
import { EventWriter } from './tensorboard.js'

export interface RunOptions {
  /** The resolved configuration. A run goes on only with the one it began with. */
  config: PlainConfig
  /** What the run began with is compared in this form: settings that did not exist then at their defaults. Default: as it stands. */
  complete?: (stored: PlainConfig) => PlainConfig
  /** Throw away what an earlier run of any configuration left here. */
  overwrite?: boolean
  /** Newest checkpoints kept, beside the best; default 2. */
  keep?: number
  /** Hears of checkpoints that were passed over. */
  warn?: (message: string) => void
}

/** What a run may leave in its folder; `overwrite` removes these and nothing else. */
const ARTEFACTS =
  /^(config\.yaml|metrics\.jsonl|events\.out\.tfevents\..*|checkpoints|model|failure|report\.(html|md|json)|summary\.json|mlflow\.json|\..*\.partial)$/

/**
 * One run: config.yaml (resolved), metrics.jsonl, TensorBoard events, checkpoints/step-N/, and model/ once it is done. Locked
 * while it is open. Everything is written under another name, flushed and renamed: a kill at any moment leaves the last good state.
 */
export class RunDirectory {
  readonly folder: string
  readonly #lock: RunLock
  readonly #checkpoints: Checkpoints
  readonly #metrics: MetricsLog
  readonly #warn: (message: string) => void
  #events: EventWriter | null = null
  #tracker: MlflowTracker | null = null
  #resumedAfter: number | undefined
  /** The checkpoint that is being completed; gives its failure, if it has one. */
  #completing: Promise<unknown> = Promise.resolve(null)
  #failure: unknown = null

  private constructor(folder: string, lock: RunLock, metrics: MetricsLog, options: RunOptions) {
    this.folder = folder
    this.#lock = lock
    this.#metrics = metrics
    this.#warn = options.warn ?? (() => {})
    this.#checkpoints = new Checkpoints(join(folder, 'checkpoints'), { keep: options.keep ?? 2 })
  }

  /**
   * @throws E_LOCKED while another process works here, E_STATE naming the keys when the configuration differs from the run's,
   * E_EXISTS when the folder holds something that is no run
   */
  static async open(folder: string, options: RunOptions): Promise<RunDirectory> {
    await makeFolder(folder)
    const lock = await lockRun(folder)
    try {
      await prepare(folder, options)
      const metrics = await MetricsLog.open(join(folder, 'metrics.jsonl'))
      const run = new RunDirectory(folder, lock, metrics, options)
      await run.#checkpoints.removePartial()
      return run
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** A path inside the run. */
  path(...names: string[]): string {
    return join(this.folder, ...names)
  }

  /** Metrics of every step so far. */
  get metrics(): readonly MetricsEntry[] {
    return this.#metrics.entries
  }

  /** Whether the run has written its result. */
  async isDone(): Promise<boolean> {
    return (await stat(this.path('model')).catch(() => null))?.isDirectory() ?? false
  }

  /** The checkpoint to go on from, with the metrics cut back to it; null to begin. */
  async resume(): Promise<Checkpoint | null> {
    await this.settled()
    const checkpoint = await this.#checkpoints.newest(this.#warn)
    const hadMetrics = this.#metrics.entries.length > 0
    await this.#metrics.truncate(checkpoint?.step ?? 0)
    if (hadMetrics) this.#resumedAfter = checkpoint?.step ?? 0
    return checkpoint
  }

  /** Sends the numbers of all further steps to a tracker too. */
  track(tracker: MlflowTracker): void {
    this.#tracker = tracker
  }

  /** Writes the numbers of a step into metrics.jsonl and TensorBoard. */
  async log(entry: MetricsEntry): Promise<void> {
    this.#throwFailure()
    const { step, ...values } = entry
    await this.#metrics.append(entry)
    this.#events ??= await EventWriter.create(
      this.folder,
      this.#resumedAfter === undefined ? {} : { resumedAfter: this.#resumedAfter },
    )
    await this.#events.scalars(step, values)
    this.#tracker?.log(entry)
  }

  /**
   * `write` fills the folder it is given; `loss` (lower is better) marks the best checkpoint. Returns when that is written: syncing,
   * hashing and the renaming that makes a checkpoint of it go on meanwhile, one at a time. A failure of theirs is thrown by the
   * next call that writes, or by `settled`.
   */
  async saveCheckpoint(
    step: number,
    write: (folder: string) => Promise<void>,
    options: { state?: Record<string, unknown>; loss?: number } = {},
  ): Promise<void> {
    await this.settled()
    const complete = await this.#checkpoints.begin(step, options.state ?? {}, options.loss ?? null, write)
    this.#completing = this.#complete(complete).catch((error) => {
      this.#failure = error
    })
  }

  /** Metrics come first: a checkpoint that counts has all of its steps. */
  async #complete(checkpoint: () => Promise<void>): Promise<void> {
    await this.#metrics.sync()
    await this.#events?.sync()
    await checkpoint()
  }

  /** Waits for the checkpoint under way. @throws what befell it, once */
  async settled(): Promise<void> {
    await this.#completing
    this.#throwFailure()
  }

  #throwFailure(): void {
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
  }

  /** Writes model/, the run's result, whole or not at all. */
  async saveModel(write: (folder: string) => Promise<void>): Promise<void> {
    await this.settled()
    await this.#metrics.sync()
    await this.#replaceFolder('model', write)
    await rm(this.path('failure'), { recursive: true, force: true })
  }

  /** Writes failure/, for whoever looks for the cause of a step that failed: failure.json and what `write` adds. */
  async saveFailure(report: Record<string, unknown>, write: (folder: string) => Promise<void>): Promise<void> {
    await this.#replaceFolder('failure', async (folder) => {
      await write(folder)
      await writeFile(join(folder, 'failure.json'), `${JSON.stringify(report, finiteOrName, 2)}\n`)
    })
  }

  async #replaceFolder(name: string, write: (folder: string) => Promise<void>): Promise<void> {
    const partial = this.path(`.${name}.${process.pid}.partial`)
    const target = this.path(name)
    try {
      await rm(partial, { recursive: true, force: true })
      await mkdir(partial)
      await write(partial)
      await syncTree(partial)
      await rm(target, { recursive: true, force: true })
      await rename(partial, target)
      await syncPath(this.folder)
    } catch (cause) {
      await rm(partial, { recursive: true, force: true })
      throw writeError(target, cause)
    }
  }

  /** Ends the run's hold on the folder, when the checkpoint under way is complete; safe twice. @throws as `settled` */
  async close(): Promise<void> {
    await this.#release()
    this.#throwFailure()
  }

  async #release(): Promise<void> {
    await this.#completing
    await this.#metrics.close()
    const events = this.#events
    this.#events = null
    await events?.close()
    await this.#lock.release()
  }

  /** As `close`; a checkpoint that failed is only told of, since whatever ends the block here must come through. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release()
    if (this.#failure !== null) this.#warn((this.#failure as Error).message)
    this.#failure = null
  }
}

async function prepare(folder: string, options: RunOptions): Promise<void> {
  const path = join(folder, 'config.yaml')
  const names = (await readdir(folder)).filter((name) => !/^\.?run\.lock/.test(name))
  if (options.overwrite) await removeArtefacts(folder, names)
  else
    await removeArtefacts(
      folder,
      names.filter((name) => name.endsWith('.partial')),
    )
  const present = options.overwrite ? null : await readRunConfig(path)
  const others = options.overwrite ? [] : names.filter((name) => name !== 'config.yaml' && !name.endsWith('.partial'))
  if (present === null && others.length > 0) {
    const message = `${folder}: holds ${others[0]} and no config.yaml, so it is no run to go on with; choose another folder or pass --overwrite`
    throw new PrudentError('E_EXISTS', message, { argument: '--output', received: others[0] as string })
  }
  // A run that failed before its first step, for a wrong path say, holds nothing that another configuration could spoil.
  if (present === null || others.length === 0) return writeRunConfig(path, options.config)
  // Where metrics are sent changes nothing of the run.
  const began = options.complete?.(present) ?? present
  const keys = differingKeys(began, plainConfig(options.config)).filter((key) => !/^tracking(\.|$)/.test(key))
  if (keys.length === 0) return
  const message = `${folder}: the run there has another configuration (${keys.join(', ')}); choose another folder or pass --overwrite`
  throw new PrudentError('E_STATE', message, { argument: '--output', received: keys.join(', ') })
}

async function removeArtefacts(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (!ARTEFACTS.test(name)) continue
    await rm(join(folder, name), { recursive: true, force: true }).catch((error) => {
      if (!isMissing(error)) throw writeError(join(folder, name), error)
    })
  }
}
