/** The study's own models: language models trained from random weights, the single reward model on the scorer, and a separate judge. */
import { cp } from 'node:fs/promises'
import path from 'node:path'
import { callNative } from '../addon/call.js'
import type { NativeAddon, NativeModel } from '../addon/native.js'
import { packRows } from '../data/batching.js'
import { renderConversation } from '../data/conversation.js'
import { deriveSeed, Random } from '../data/random.js'
import { tokeniseTexts } from '../data/texts.js'
import type { Tokenizer } from '../data/tokenizer.js'
import { bigramPerplexity } from '../evaluation/bigram.js'
import { mean } from '../evaluation/describe.js'
import { makeFolder } from '../run/folders.js'
import { trainLanguageModel } from '../training/language-model.js'
import { measurePairs } from '../training/pair-scores.js'
import { trainRewardModel } from '../training/reward.js'
import type { RewardResult, StepMetrics } from '../training/types.js'
import type { LanguageModelConfig, ModelConfig, StudyConfig } from './config.js'
import { type LabelledPairs, responseText, type StudyInputs } from './inputs.js'
import type { StageContext } from './stages.js'
import type { IndependentModel, LanguageModelSummary, RewardModelSummary } from './summary.js'

export interface ModelStage {
  addon: NativeAddon
  config: StudyConfig
  inputs: StudyInputs
  signal: AbortSignal
  progress: (done: number, total: number) => void
}

/** config.json of a new model: the tokenizer's vocabulary and special tokens fill what the config leaves out. */
export function architectureOf(model: ModelConfig, tokenizer: Tokenizer): string {
  const ids = {
    bos_token_id: tokenizer.bosTokenId,
    eos_token_id: tokenizer.eosTokenId,
    pad_token_id: tokenizer.padTokenId,
  }
  return JSON.stringify({ vocab_size: tokenizer.vocabSize, ...ids, ...model.architecture })
}

/** A folder that transformers loads: weights, config and tokenizer. */
export async function saveModel(model: NativeModel, tokenizer: Tokenizer, folder: string): Promise<void> {
  await model.save(folder)
  await makeFolder(folder)
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    await cp(path.join(tokenizer.folder, name), path.join(folder, name))
}

/** Trains one of the two language models and saves it in the stage's folder under model/. */
export async function makeLanguageModel(
  stage: ModelStage,
  name: 'scorer' | 'policy',
  context: StageContext,
): Promise<LanguageModelSummary> {
  const { addon, config, inputs, signal } = stage
  const settings = config.models[name]
  const tokenizer = inputs.tokenizers[name]
  const rows = await textRows(tokenizer, inputs.reviews, settings, `${config.seed} ${name} train`)
  const heldOut = await textRows(tokenizer, inputs.reviewsHeldOut, settings, `${config.seed} ${name} held out`)
  const seed = settings.training.seed + config.seed
  const options = { task: 'causal-lm' as const, dtype: config.dtype, device: config.device, seed }
  const model = await addon.createModel(architectureOf(settings, tokenizer), options)
  try {
    const result = await trainLanguageModel({
      model,
      rows,
      heldOut,
      settings: { ...settings.training, seed },
      signal,
      onStep: (metrics, total) => stage.progress(metrics.step, total),
    })
    await saveModel(model, tokenizer, path.join(context.folder, 'model'))
    const tokens = result.metrics.reduce((sum, metrics) => sum + (metrics['train/tokens'] ?? 0), 0)
    return {
      steps: result.steps,
      tokens,
      parameters: model.info().parameterCount,
      perplexity: Math.exp(result.heldOutLoss ?? Number.NaN),
      bigramPerplexity: bigramPerplexity(rows, heldOut, { vocabSize: tokenizer.vocabSize }),
      loss: lossCurve(result.metrics),
    }
  } finally {
    await model.dispose()
  }
}

/** Reviews as training rows: as they are, or begun as a conversation so that the state at a turn's end knows what the turn was about. */
async function textRows(
  tokenizer: Tokenizer,
  reviews: readonly string[],
  model: LanguageModelConfig,
  seed: string,
): Promise<Int32Array[]> {
  const random = Random.from(seed, 'turns')
  const texts = model.texts === 'plain' ? reviews : reviews.map((review) => asConversation(tokenizer, review, random))
  const { rows } = await tokeniseTexts(tokenizer, texts, {
    maxLength: Number.MAX_SAFE_INTEGER,
    overLong: 'truncate-left',
  })
  return rows.map((row) => row.slice(0, model.maxLength)).filter((row) => row.length > 1)
}

const TURN_WORDS = 10

function asConversation(tokenizer: Tokenizer, review: string, random: Random): string {
  const words = review.split(' ')
  const prompt = random.integer(2, 8)
  const messages = [
    { role: 'user', content: words.slice(0, prompt).join(' ') },
    { role: 'assistant', content: words.slice(prompt, prompt + TURN_WORDS).join(' ') },
  ]
  return renderConversation(tokenizer, { messages }) + words.slice(prompt + TURN_WORDS).join(' ')
}

/** A classifier with one new head. */
const singleHead = ({ dtype, device }: StudyConfig, seed: number) => ({
  task: 'sequence-classification' as const,
  dtype,
  device,
  allowNewHead: true,
  numLabels: 1,
  seed,
})

/** Full fine-tune of the scorer's language model by Bradley-Terry, with early stop. */
export async function makeRewardModel(
  stage: ModelStage,
  baseFolder: string,
  context: StageContext,
): Promise<RewardModelSummary> {
  const { addon, config, inputs } = stage
  const seed = config.rewardModel.seed + config.seed
  const model = await addon.loadModel(baseFolder, singleHead(config, seed))
  return trainClassifier(stage, {
    model,
    settings: { ...config.rewardModel, seed },
    pairs: inputs.preferences,
    tokenizer: inputs.tokenizers.scorer,
    context,
  })
}

/** A reward model that shares data and settings with the others and no seed; trained to its last step. */
export async function trainIndependentModel(
  stage: ModelStage,
  baseFolder: string,
  folder: string,
  number: number,
): Promise<IndependentModel> {
  const { addon, config, inputs } = stage
  const seed = deriveSeed(config.seed, 'independent', number)
  const { stopAt, ...settings } = config.rewardModel
  const { steps, heldOutAccuracy, loss } = await trainClassifier(stage, {
    model: await addon.loadModel(baseFolder, singleHead(config, seed)),
    settings: { ...settings, seed },
    pairs: inputs.preferences,
    tokenizer: inputs.tokenizers.scorer,
    context: { folder },
  })
  return { steps, heldOutAccuracy, finalLoss: loss.at(-1)?.loss ?? Number.NaN }
}

/** The judge: another architecture, other preferences that cover every style, from random weights. */
export async function makeJudge(
  stage: ModelStage,
  judge: ModelConfig,
  context: StageContext,
): Promise<RewardModelSummary> {
  const { addon, config, inputs } = stage
  const seed = config.judgeModel.seed + config.seed
  const tokenizer = inputs.tokenizers.judge
  const model = await addon.createModel(architectureOf(judge, tokenizer), singleHead(config, seed))
  return trainClassifier(stage, {
    model,
    settings: { ...config.judgeModel, seed },
    pairs: inputs.judgePreferences,
    tokenizer,
    context,
  })
}

/** A judge that exists is only measured, on the pairs that were held out for it. */
export async function measureJudge(stage: ModelStage, folder: string): Promise<RewardModelSummary> {
  const { addon, config, inputs, signal } = stage
  const { dtype, device, rewardModel } = config
  const model = await addon.loadModel(folder, { task: 'sequence-classification', dtype, device })
  try {
    const { chosen, rejected } = inputs.judgePreferences.heldOut
    const score = (rows: readonly Int32Array[]) =>
      callNative({ signal }, (call) => model.score(packRows(rows), { batchTokens: rewardModel.batchTokens }, call))
    const { accuracy, loss } = measurePairs(await score(chosen), await score(rejected), model.info().numLabels)
    const measured = { heldOutAccuracy: mean(accuracy), heldOutLoss: mean(loss) }
    return summariseReward({ ...measured, steps: 0, stoppedEarly: false, metrics: [] }, inputs.judgePreferences, inputs)
  } finally {
    await model.dispose()
  }
}

interface ClassifierTraining {
  model: NativeModel
  settings: StudyConfig['rewardModel']
  pairs: LabelledPairs
  tokenizer: Tokenizer
  context: Pick<StageContext, 'folder'>
}

async function trainClassifier(stage: ModelStage, training: ClassifierTraining): Promise<RewardModelSummary> {
  const { model, settings, pairs, tokenizer, context } = training
  try {
    const result = await trainRewardModel({
      model,
      pairs: pairs.train,
      heldOut: pairs.heldOut,
      settings,
      signal: stage.signal,
      onStep: (metrics, total) => stage.progress(metrics.step, total),
    })
    await saveModel(model, tokenizer, path.join(context.folder, 'model'))
    return summariseReward(result, pairs, stage.inputs)
  } finally {
    await model.dispose()
  }
}

function summariseReward(result: RewardResult, pairs: LabelledPairs, inputs: StudyInputs): RewardModelSummary {
  const gaps = pairs.heldOutRows.map((row) => {
    const pair = pairs.pairs[row] as LabelledPairs['pairs'][number]
    return inputs.truth.reward(responseText(pair.chosen)) - inputs.truth.reward(responseText(pair.rejected))
  })
  const share = (value: (gap: number) => number) => gaps.reduce((sum, gap) => sum + value(gap), 0) / gaps.length
  return {
    steps: result.steps,
    stoppedEarly: result.stoppedEarly,
    heldOutAccuracy: result.heldOutAccuracy ?? Number.NaN,
    truthAccuracy: share((gap) => (gap > 0 ? 1 : 0)),
    bayesCeiling: share((gap) => 1 / (1 + Math.exp(-Math.abs(gap)))),
    loss: lossCurve(result.metrics),
  }
}

const lossCurve = (metrics: readonly StepMetrics[]) =>
  metrics.map((entry) => ({ step: entry.step, loss: entry['train/loss'] ?? Number.NaN }))
