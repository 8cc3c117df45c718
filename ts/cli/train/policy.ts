import type { NativeModel } from '../../addon/native.js'
import { loadUncertainty } from '../../addon/uncertainty.js'
import { eosTokenIds } from '../../data/model-files.js'
import { describeReport } from '../../data/report.js'
import { argumentError } from '../../errors.js'
import { loadPrompts } from '../../policy/prompts.js'
import { modelScorer } from '../../policy/scorer.js'
import { trainPolicy } from '../../policy/train-policy.js'
import type { Session } from '../support/session.js'
import type { TrainOptions } from '../train.js'
import { withBatchTokens } from './micro-batch.js'
import { type PolicyRun, policyRun } from './schemas.js'
import {
  openModel,
  openTrained,
  type ResolvedModel,
  resolveWithTokenizer,
  type Start,
  saveResult,
  startTraining,
} from './start.js'

/** `prudent train policy` */
export async function trainPolicyCommand(session: Session, options: TrainOptions): Promise<void> {
  await startTraining(session, options, policyRun, (start) => train(session, start))
}

interface Models {
  policy: NativeModel
  reference: NativeModel
  scorer: NativeModel
}

async function train(session: Session, start: Start<PolicyRun>) {
  const { config, run, context } = start
  const base = await resolveWithTokenizer(session, config.model, config.tokenizer)
  const scorer = await resolveWithTokenizer(session, config.scorer.model, config.scorer.tokenizer)
  const { prompts, report } = await loadPrompts(config.prompts, base.tokenizer, session.signal)
  session.note(`${config.prompts.source.path}: ${describeReport(report)}`)
  const opened: NativeModel[] = []
  try {
    const models = await openModels(session, start, base, scorer, opened)
    const { head, ensemble, referenceMean, maxLength, batchTokens, sharePrefixes } = config.scorer
    const tokenizers = { policyTokenizer: base.tokenizer, scorerTokenizer: scorer.tokenizer }
    const { steps, metrics, klCoef } = await trainPolicy({
      ...context,
      policy: models.policy,
      reference: models.reference,
      scorer: modelScorer({
        model: models.scorer,
        ...tokenizers,
        maxLength,
        batchTokens,
        sharePrefixes,
        group: context.group,
      }),
      prompts,
      settings: await withBatchTokens(session, start, models.policy, config.ppo),
      eosTokenIds: await eosTokenIds(base.folder),
      head,
      ...(ensemble && { ensemble }),
      ...(referenceMean && { referenceMean: Float32Array.from(referenceMean) }),
      onWarning: (message) => session.note(`warning: ${message}`),
    })
    await saveResult(run, models.policy, base.tokenizer.folder)
    const last = metrics.at(-1) ?? {}
    const named = (name: string) => (last as Record<string, number>)[name] ?? null
    return {
      steps,
      kl: named('objective/kl'),
      rewardMean: named('env/reward_mean'),
      rewardStd: named('env/reward_std'),
      klCoef,
    }
  } finally {
    for (const model of opened) await model.dispose()
  }
}

/** `opened` is filled as models are loaded, so that those of a failed start are disposed of too. */
async function openModels(
  session: Session,
  { config, checkpoint }: Start<PolicyRun>,
  base: ResolvedModel,
  scorer: ResolvedModel,
  opened: NativeModel[],
): Promise<Models> {
  const { dtype, device } = config
  const keep = (model: NativeModel) => {
    opened.push(model)
    return model
  }
  const causal = { task: 'causal-lm', dtype, device } as const
  const policy = keep(await openTrained(session, base.folder, checkpoint, causal))
  if (!policy.info().hasValueHead) await policy.addValueHead(config.valueHeadSeed)
  const reference = config.reference ? await resolveWithTokenizer(session, config.reference, undefined) : base
  return {
    policy,
    reference: keep(await openModel(session, reference.folder, causal)),
    scorer: await openScorer(session, scorer.folder, config, keep),
  }
}

/** The reward model, which scores by the uncertainty source that its folder names. */
async function openScorer(
  session: Session,
  folder: string,
  { dtype, device, scorer }: PolicyRun,
  keep: (model: NativeModel) => NativeModel,
): Promise<NativeModel> {
  const model = keep(await openModel(session, folder, { task: 'sequence-classification', dtype, device }))
  const found = (await loadUncertainty(model, folder, session.signal))?.source ?? 'heads'
  const { uncertainty } = scorer
  if (uncertainty !== 'auto' && uncertainty !== found)
    throw argumentError('E_CONFIG', 'scorer.uncertainty', `${found}, which ${folder} was trained with`, uncertainty)
  return model
}
