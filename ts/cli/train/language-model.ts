import { holdOut } from '../../data/batching.js'
import { Random } from '../../data/random.js'
import { describeReport } from '../../data/report.js'
import { readSource } from '../../data/sources.js'
import { readTexts, tokeniseTexts } from '../../data/texts.js'
import type { Tokenizer } from '../../data/tokenizer.js'
import { argumentError } from '../../errors.js'
import { trainLanguageModel } from '../../training/language-model.js'
import type { Session } from '../support/session.js'
import type { TrainOptions } from '../train.js'
import { withBatchTokens } from './micro-batch.js'
import { type LanguageModelRun, languageModelRun } from './schemas.js'
import {
  createModel,
  openTokenizer,
  openTrained,
  resolveWithTokenizer,
  type Start,
  saveResult,
  startTraining,
} from './start.js'

/** `prudent train language-model` */
export async function trainLanguageModelCommand(session: Session, options: TrainOptions): Promise<void> {
  await startTraining(session, options, languageModelRun, (start) => train(session, start))
}

async function train(session: Session, start: Start<LanguageModelRun>) {
  const { config, run, context } = start
  const { model, tokenizer } = await openStart(session, start)
  try {
    const rows = await loadTexts(session, config, tokenizer, model.info().maxPositions)
    const split = holdOut(rows.length, {
      random: Random.from(config.heldOut.seed, 'held-out'),
      fraction: config.heldOut.fraction,
    })
    const take = (numbers: Int32Array) => Array.from(numbers, (number) => rows[number] as Int32Array)
    const training = {
      ...context,
      model,
      rows: take(split.train),
      heldOut: take(split.heldOut),
      settings: await withBatchTokens(session, start, model, config.training),
    }
    const { steps, stoppedEarly, heldOutLoss } = await trainLanguageModel(training)
    await saveResult(run, model, tokenizer.folder)
    return { steps, stoppedEarly, heldOutLoss, perplexity: heldOutLoss === null ? null : Math.exp(heldOutLoss) }
  } finally {
    await model.dispose()
  }
}

async function openStart(session: Session, { config, checkpoint }: Start<LanguageModelRun>) {
  const options = { task: 'causal-lm', dtype: config.dtype, device: config.device } as const
  if (!('config' in config.model)) {
    const { folder, tokenizer } = await resolveWithTokenizer(session, config.model, config.tokenizer)
    return { model: await openTrained(session, folder, checkpoint, options), tokenizer }
  }
  if (config.tokenizer === undefined)
    throw argumentError('E_CONFIG', 'tokenizer', 'a tokenizer for the new model', 'none')
  const tokenizer = await openTokenizer(session, config.tokenizer)
  if (checkpoint !== null) return { model: await openTrained(session, '', checkpoint, options), tokenizer }
  return { model: await createModel(config.model.config, { ...options, seed: config.model.seed }), tokenizer }
}

async function loadTexts(
  session: Session,
  config: LanguageModelRun,
  tokenizer: Tokenizer,
  positions: number,
): Promise<Int32Array[]> {
  const { source, column, maxLength, overLong } = config.data
  const { texts, report } = await readTexts(readSource(source, [column], { signal: session.signal }), column)
  const { rows } = await tokeniseTexts(tokenizer, texts, {
    maxLength: Math.min(maxLength, positions),
    overLong,
    report,
  })
  session.note(`${source.path}: ${describeReport(report)}`)
  return rows
}
