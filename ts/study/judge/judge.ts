/** Judges policies that exist: one mean score a policy, the reference sampled as often, and groups compared as the study compares arms. */
import path from 'node:path'
import { callNative } from '../../addon/call.js'
import { loadAddon } from '../../addon/load.js'
import type { NativeModel } from '../../addon/native.js'
import { loadUncertainty } from '../../addon/uncertainty.js'
import { eosTokenIds, resolveModel } from '../../data/model-files.js'
import { deriveSeed, Random } from '../../data/random.js'
import { Tokenizer } from '../../data/tokenizer.js'
import { mean, standardDeviation, variance } from '../../evaluation/describe.js'
import { evaluatePolicy } from '../../policy/evaluate-policy.js'
import { loadPrompts } from '../../policy/prompts.js'
import { modelScorer, rewardsOf } from '../../policy/scorer.js'
import type { PromptSet, Scorer } from '../../policy/types.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import { takePrompts } from '../prompts.js'
import { hashOf, StageStore } from '../stages.js'
import { checkedSummary } from '../summary.js'
import { compareArms, type JudgedPolicy } from '../verdict.js'
import type { JudgeConfig } from './config.js'
import { type FoundPolicy, findPolicies, signatureOf } from './policies.js'
import { type JudgeSummary, judgeSummarySchema } from './summary.js'

export interface JudgeOptions {
  config: JudgeConfig
  runFolder: string
  signal: AbortSignal
  observer: { note(line: string): void; progress(label: string, done: number, total: number): void }
}

interface Judged {
  mean: number
  kl: number
}

/** Judges what is not judged yet and writes summary.json. */
export async function runJudge(options: JudgeOptions): Promise<JudgeSummary> {
  const { config, runFolder, signal, observer } = options
  const policies = await findPolicies(config, signal)
  const court = await openCourt(config, signal)
  try {
    const store = new StageStore(runFolder)
    const largest = Math.max(...config.groups.map(({ name }) => policies.filter(({ group }) => group === name).length))
    const samples = config.referenceSamples ?? Math.max(2, largest)
    const { level, resamples, name, groups, referenceSamples, ...judging } = config
    const names = new Map(await Promise.all(policies.map(async (policy) => [policy, await unitName(policy)] as const)))
    const stage = await store.sharedStage('judged', [judging, court.signature], async (context) => {
      const units = [
        ...Array.from({ length: samples }, (_, i) => ({
          name: `reference-${i}`,
          work: () => court.judge(null, deriveSeed(config.seed, 'judge', 'reference', i)),
        })),
        ...policies.map((policy) => ({
          name: names.get(policy) as string,
          work: () => court.judge(policy, seedOf(config, policy)),
        })),
      ]
      // One policy at a time: it may be as large as memory allows, and its forwards use all cores.
      const progress = (done: number, total: number) => observer.progress('judged', done, total)
      return store.units<Judged>(context, units, { width: 1, signal, progress })
    })
    const summary = summarise(config, court, policies, {
      reference: stage.value.slice(0, samples),
      judged: stage.value.slice(samples),
    })
    await writeFileAtomic(path.join(runFolder, 'summary.json'), `${JSON.stringify(summary)}\n`)
    return summary
  } finally {
    await court.dispose()
  }
}

/** Another model at the same place in a group is another unit. */
async function unitName({ model, head, index, folder }: FoundPolicy): Promise<string> {
  return `policy-${hashOf([model, head, index, await signatureOf(folder)])}`
}

/** Groups share random numbers: policy i of one meets those of policy i of the other. */
const seedOf = (config: JudgeConfig, policy: FoundPolicy): number =>
  deriveSeed(config.seed, 'judge', policy.head, policy.index)

/** Everything that all policies meet. */
interface Court {
  heads: number
  prompts: { set: PromptSet; used: number }
  /** Of the weights of judge and reference. */
  signature: string[]
  /** @param policy null: the reference */
  judge(policy: FoundPolicy | null, seed: number): Promise<Judged>
  dispose(): Promise<void>
}

async function openCourt(config: JudgeConfig, signal: AbortSignal): Promise<Court> {
  const { dtype, device } = config
  const load = (folder: string, task: 'causal-lm' | 'sequence-classification') =>
    callNative({ signal }, (call) =>
      loadAddon().loadModel(folder, { task, dtype, device: device === 'cuda' ? 'cuda:0' : device }, call),
    )
  const folderOf = async (reference: { path: string; revision?: string | undefined }) =>
    (await resolveModel(reference, { signal })).folder
  const referenceFolder = await folderOf(config.reference)
  const judgeFolder = await folderOf(config.judge.model)
  const policyTokenizer = await Tokenizer.load(config.tokenizer ? await folderOf(config.tokenizer) : referenceFolder)
  const scorerTokenizer = await Tokenizer.load(
    config.judge.tokenizer ? await folderOf(config.judge.tokenizer) : judgeFolder,
  )
  const { prompts } = await loadPrompts(config.prompts, policyTokenizer, signal)
  const eos = await eosTokenIds(referenceFolder)
  const reference = await load(referenceFolder, 'causal-lm')
  const judge = await load(judgeFolder, 'sequence-classification').catch(async (error) => {
    await reference.dispose()
    throw error
  })
  await loadUncertainty(judge, judgeFolder, signal).catch(async (error) => {
    await judge.dispose()
    await reference.dispose()
    throw error
  })
  const { batchTokens } = config
  const scorer = modelScorer({
    model: judge,
    policyTokenizer,
    scorerTokenizer,
    maxLength: config.judge.maxLength,
    batchTokens,
  })
  const set = takePrompts(prompts, config.responses)
  const withPolicy = async <T>(found: FoundPolicy | null, use: (policy: NativeModel) => Promise<T>) => {
    if (found === null) return use(reference)
    const policy = await load(found.folder, 'causal-lm')
    try {
      return await use(policy)
    } finally {
      await policy.dispose()
    }
  }
  return {
    heads: judge.info().numLabels,
    signature: [...(await signatureOf(referenceFolder)), ...(await signatureOf(judgeFolder))],
    prompts: { set, used: Math.min(prompts.ids.length, config.responses) },
    judge: (found, seed) =>
      withPolicy(found, async (policy) => {
        const common = { prompts: set.ids, sampling: config.sampling, eosTokenIds: eos, batchTokens, signal }
        const { responses, meanKl } = await evaluatePolicy({ policy, reference, seed, ...common })
        return { mean: await meanScore(scorer, set, responses, signal), kl: meanKl }
      }),
    async dispose() {
      await reference.dispose()
      await judge.dispose()
    },
  }
}

async function meanScore(
  scorer: Scorer,
  prompts: PromptSet,
  responses: Int32Array[],
  signal: AbortSignal,
): Promise<number> {
  return mean(rewardsOf(await scorer.score(prompts.texts, responses, signal)))
}

function summarise(
  config: JudgeConfig,
  court: Court,
  found: readonly FoundPolicy[],
  results: { reference: readonly Judged[]; judged: readonly Judged[] },
): JudgeSummary {
  const referenceMeans = results.reference.map((sample) => sample.mean)
  const baseline = mean(referenceMeans)
  const policies = found.map((policy, i) => ({ ...policy, ...(results.judged[i] as Judged) }))
  const groups = config.groups.map(({ name }) =>
    describeGroup(
      name,
      policies.filter((policy) => policy.group === name),
      baseline,
    ),
  )
  const [first, ...others] = groups as [JudgeSummary['groups'][number], ...JudgeSummary['groups']]
  return checkedSummary(judgeSummarySchema, {
    kind: 'judge',
    version: 1,
    name: config.name,
    seed: config.seed,
    judge: { model: config.judge.model.path, heads: court.heads },
    prompts: { source: config.prompts.source.path, used: court.prompts.used, responses: config.responses },
    reference: {
      model: config.reference.path,
      means: referenceMeans,
      mean: baseline,
      variance: variance(referenceMeans),
    },
    groups,
    comparisons: others.map((group) => compareGroups(config, first, group)),
    level: config.level,
    config,
  })
}

function describeGroup(name: string, policies: readonly (FoundPolicy & Judged)[], baseline: number) {
  const means = policies.map((policy) => policy.mean)
  const kls = policies.map((policy) => policy.kl)
  const several = policies.length > 1
  return {
    name,
    policies: policies.map(({ model, head, mean, kl }) => ({ model, head, mean, kl, belowReference: mean < baseline })),
    mean: mean(means),
    variance: several ? variance(means) : 0,
    riskBelowReference: means.filter((value) => value < baseline).length / means.length,
    finalKl: { mean: mean(kls), std: several ? standardDeviation(kls) : 0 },
  }
}

type Group = JudgeSummary['groups'][number]

function compareGroups(config: JudgeConfig, baseline: Group, treatment: Group): JudgeSummary['comparisons'][number] {
  const heads = [...new Set([...baseline.policies, ...treatment.policies].map((policy) => policy.head))]
  const judged = (group: Group): JudgedPolicy[] =>
    group.policies.map((policy, trial) => ({
      ensemble: 0,
      head: heads.indexOf(policy.head),
      trial,
      finalKl: policy.kl,
      value: policy.mean,
      belowReference: policy.belowReference,
    }))
  const { klDifference, ...numbers } = compareArms({
    baseline: judged(baseline),
    treatment: judged(treatment),
    rules: { level: config.level, resamples: config.resamples, klTolerance: 0 },
    random: Random.from(config.seed, 'judge', treatment.name),
  })
  const { estimate, low, high } = klDifference
  return {
    baseline: baseline.name,
    treatment: treatment.name,
    ...numbers,
    klDifference: Number.isFinite(estimate) ? { estimate, low, high } : null,
  }
}
