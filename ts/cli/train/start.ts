import { copyFile, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { z } from 'zod'
import { callNative } from '../../addon/call.js'
import { loadAddon } from '../../addon/load.js'
import type { LoadModelOptions, NativeModel } from '../../addon/native.js'
import { markUncertainty, saveUncertainty, type Uncertainty } from '../../addon/uncertainty.js'
import type { ModelReference } from '../../config/blocks.js'
import { loadConfig } from '../../config/load.js'
import { resolveModel } from '../../data/model-files.js'
import { Tokenizer } from '../../data/tokenizer.js'
import { PrudentError } from '../../errors.js'
import type { Checkpoint } from '../../run/checkpoints.js'
import { completeConfig, type PlainConfig } from '../../run/config-file.js'
import { MlflowTracker } from '../../run/mlflow.js'
import { RunDirectory } from '../../run/run-directory.js'
import type { CheckpointSettings } from '../../training/settings.js'
import { checkpointModel } from '../../training/step-loop.js'
import type { StepMetrics, TrainingContext } from '../../training/types.js'
import type { Session } from '../support/session.js'
import type { TrainOptions } from '../train.js'
import { Ranks } from './ranks.js'
import type { Tracking } from './schemas.js'

/** What the body of a training command works with. */
export interface Start<Config> {
  config: Config
  /** Null on a rank that writes nothing. */
  run: RunDirectory | null
  checkpoint: Checkpoint | null
  /** The processes that train together; null for one that is alone. */
  ranks: Ranks | null
  context: TrainingContext
}

/**
 * Reads the configuration, opens the run directory and finds the checkpoint to go on from; prints what `body` returns as JSON.
 * A run that is done is left alone.
 */
export async function startTraining<Schema extends z.ZodType>(
  session: Session,
  options: TrainOptions,
  schema: Schema,
  body: (start: Start<z.output<Schema>>) => Promise<Record<string, unknown>>,
): Promise<void> {
  const set = [
    ...(options.set ?? []),
    ...(options.device ? [`device=${options.device}`] : []),
    ...(options.dtype ? [`dtype=${options.dtype}`] : []),
  ]
  const config = await loadConfig(schema, options.config, { set })
  const ranks = await Ranks.join(session)
  try {
    await trainAs(session, options, schema, config, ranks, body)
  } catch (error) {
    await ranks?.leave(error)
    throw error
  }
  await ranks?.leave()
}

async function trainAs<Config>(
  session: Session,
  options: TrainOptions,
  schema: z.ZodType,
  config: Config,
  ranks: Ranks | null,
  body: (start: Start<Config>) => Promise<Record<string, unknown>>,
): Promise<void> {
  const { saving } = config as { saving: CheckpointSettings }
  await using run =
    ranks?.isWriter === false ? null : await openRun(session, options, schema, config as PlainConfig, saving)
  const isDone = (await run?.isDone()) ?? false
  // To resume is to cut metrics back to the checkpoint: those of a run that is done stay.
  const own = { done: isDone, checkpoint: isDone ? null : ((await run?.resume()) ?? null) }
  const { done, checkpoint } = ranks === null ? own : await ranks.broadcast(own)
  if (done) {
    if (run === null) return
    session.note(`${options.output}: done already; --overwrite trains again`)
    process.stdout.write(`${JSON.stringify({ output: options.output, done: true })}\n`)
    return
  }
  if (ranks !== null) Object.assign(config as object, { device: ranks.device((config as { device: string }).device) })
  const shared = { saving, checkpoint, signal: session.signal, ...(ranks && { group: ranks.group.native }) }
  if (run === null) {
    await body({ config, run, checkpoint, ranks, context: shared })
    return
  }
  if (checkpoint !== null) session.note(`going on from step ${checkpoint.step}`)
  const progress = stepProgress(session)
  const tracker = trackerOf(session, run, config as PlainConfig)
  try {
    const context = { ...shared, run, onStep: progress.step }
    const summary = await body({ config, run, checkpoint, ranks, context })
    progress.stop()
    await tracker?.end('FINISHED')
    process.stdout.write(`${JSON.stringify({ output: options.output, ...summary })}\n`)
  } catch (error) {
    progress.stop()
    await tracker?.end(session.signal.aborted ? 'KILLED' : 'FAILED')
    throw error
  }
}

/** Its folder as an absolute path: other ranks look for checkpoints there too. */
function openRun(
  session: Session,
  options: TrainOptions,
  schema: z.ZodType,
  config: PlainConfig,
  saving: CheckpointSettings,
): Promise<RunDirectory> {
  return RunDirectory.open(resolve(options.output), {
    config,
    complete: (stored) => completeConfig(schema, stored),
    overwrite: options.overwrite ?? false,
    keep: saving.keep,
    warn: (message) => session.note(`warning: ${message}`),
  })
}

function trackerOf(session: Session, run: RunDirectory, config: PlainConfig): MlflowTracker | null {
  const { tracking, ...params } = config as { tracking?: Tracking }
  if (!tracking?.mlflow) return null
  const { uri, experiment, runName = basename(resolve(run.folder)) } = tracking.mlflow
  const warn = (message: string) => session.note(`warning: ${message}`)
  const tracker = new MlflowTracker({ uri, experiment, runName, params, file: run.path('mlflow.json'), warn })
  run.track(tracker)
  return tracker
}

/** The bar starts with the first step: before it, data is read and models are loaded. */
function stepProgress(session: Session) {
  let bar: ReturnType<Session['progress']> | null = null
  return {
    step(metrics: StepMetrics, total: number) {
      bar ??= session.progress('steps', total)
      bar.update(metrics.step, total)
    },
    stop() {
      bar?.stop()
    },
  }
}

/** A folder on this machine and its tokenizer. */
export interface ResolvedModel {
  folder: string
  tokenizer: Tokenizer
}

/** The folder of a model, downloaded first if need be, and its tokenizer or the one given instead. */
export async function resolveWithTokenizer(
  session: Session,
  reference: ModelReference,
  tokenizer: ModelReference | undefined,
): Promise<ResolvedModel> {
  const { folder } = await resolveModel(reference, { signal: session.signal })
  return { folder, tokenizer: await openTokenizer(session, tokenizer ?? { path: folder }) }
}

export async function openTokenizer(session: Session, reference: ModelReference): Promise<Tokenizer> {
  return Tokenizer.load((await resolveModel(reference, { signal: session.signal })).folder)
}

/** Loads a model to train: from the checkpoint where there is one. */
export async function openTrained(
  session: Session,
  folder: string,
  checkpoint: Checkpoint | null,
  options: LoadModelOptions,
): Promise<NativeModel> {
  return openModel(session, checkpoint === null ? folder : checkpointModel(checkpoint), options)
}

export async function openModel(session: Session, folder: string, options: LoadModelOptions): Promise<NativeModel> {
  const device = options.device === 'cuda' ? 'cuda:0' : options.device
  return callNative({ signal: session.signal }, (call) => loadAddon().loadModel(folder, { ...options, device }, call))
}

/** A model of random weights, from its config.json. */
export async function createModel(file: string, options: LoadModelOptions): Promise<NativeModel> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new PrudentError('E_NOT_FOUND', `${file}: no such config.json`, { argument: 'model.config', cause })
  })
  const device = options.device === 'cuda' ? 'cuda:0' : options.device
  return callNative(undefined, () => loadAddon().createModel(text, { ...options, device }))
}

const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'generation_config.json',
]

/**
 * Writes model/ with everything that transformers needs to load it: weights, config and tokenizer; and what says where sigma comes from.
 * A rank without a run writes nothing.
 */
export async function saveResult(
  run: RunDirectory | null,
  model: NativeModel,
  tokenizerFolder: string,
  uncertainty: Uncertainty | null = null,
): Promise<void> {
  if (run === null) return
  await run.saveModel(async (folder) => {
    await model.save(folder)
    if (uncertainty !== null) {
      await saveUncertainty(model, folder, uncertainty)
      await markUncertainty(folder)
    }
    for (const name of TOKENIZER_FILES) {
      const source = join(tokenizerFolder, name)
      const exists = (await stat(source).catch(() => null))?.isFile() ?? false
      if (exists) await copyFile(source, join(folder, name))
    }
  })
}
