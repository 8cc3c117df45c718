/** The verdict: rules from the config, applied to numbers, with a sentence for every step. */

import type { Random } from '../data/random.js'
import { mean } from '../evaluation/describe.js'
import type { StudyConfig } from './config.js'
import {
  pairedMeanDifference,
  pairedRiskDifference,
  relativeDifference,
  resample,
  varianceRatio,
} from './statistics/intervals.js'
import { brownForsythe, levene, pitmanMorgan } from './statistics/tests.js'
import type { Check, Interval, Outcome, Verdict } from './summary.js'

/** One policy as the verdict sees it. */
export interface JudgedPolicy {
  ensemble: number
  head: number
  trial: number
  finalKl: number
  /** Mean judge score of its responses. */
  value: number
  belowReference: boolean
}

export interface VerdictInput {
  baseline: readonly JudgedPolicy[]
  treatment: readonly JudgedPolicy[]
  preconditions: readonly Check[]
  gate: readonly Check[]
  rules: StudyConfig['verdict']
  random: Random
}

export type VerdictNumbers = Pick<
  Verdict,
  | 'clusters'
  | 'policies'
  | 'varianceRatio'
  | 'pitmanMorgan'
  | 'riskDifference'
  | 'meanDifference'
  | 'klDifference'
  | 'asInPaper'
>

interface Cluster {
  value: number
  finalKl: number
  risk: number
  below: boolean[]
}

/** Numbers of a comparison. Clusters are heads: the trials of one head are averaged first. */
export function compareArms(
  input: Pick<VerdictInput, 'baseline' | 'treatment' | 'random'> & {
    rules: Pick<StudyConfig['verdict'], 'level' | 'resamples' | 'klTolerance'>
  },
): VerdictNumbers {
  const { rules, random } = input
  const [baselineHeads, treatmentHeads] = [byHead(input.baseline), byHead(input.treatment)]
  const names = [...treatmentHeads.keys()].filter((name) => baselineHeads.has(name))
  const baseline = names.map((name) => baselineHeads.get(name) as Cluster)
  const treatment = names.map((name) => treatmentHeads.get(name) as Cluster)
  const values = (clusters: Cluster[], key: 'value' | 'finalKl' | 'risk') => clusters.map((cluster) => cluster[key])
  const options = { level: rules.level, draws: resample(names.length, rules.resamples, random) }
  const kl = relativeDifference(values(treatment, 'finalKl'), values(baseline, 'finalKl'), options)
  const paired = new Set(names)
  const policiesOf = (policies: readonly JudgedPolicy[]) =>
    policies.filter((policy) => paired.has(headName(policy))).map((policy) => policy.value)
  return {
    clusters: names.length,
    policies: policiesOf(input.treatment).length,
    varianceRatio: varianceRatio(values(treatment, 'value'), values(baseline, 'value'), options),
    pitmanMorgan: pitmanMorgan(values(treatment, 'value'), values(baseline, 'value')),
    riskDifference: riskDifference(treatment, baseline, options),
    meanDifference: pairedMeanDifference(values(treatment, 'value'), values(baseline, 'value'), options),
    klDifference: { ...kl, tolerance: rules.klTolerance, matched: Math.abs(kl.estimate) <= rules.klTolerance },
    asInPaper: {
      brownForsythe: brownForsythe(policiesOf(input.treatment), policiesOf(input.baseline)),
      levene: levene(policiesOf(input.treatment), policiesOf(input.baseline)),
    },
  }
}

function riskDifference(
  treatment: Cluster[],
  baseline: Cluster[],
  options: Parameters<typeof pairedMeanDifference>[2],
): Interval {
  const single = [...treatment, ...baseline].every((cluster) => cluster.below.length === 1)
  if (single) {
    const of = (clusters: Cluster[]) => clusters.map((cluster) => cluster.below[0] as boolean)
    return pairedRiskDifference(of(treatment), of(baseline), options.level)
  }
  return pairedMeanDifference(
    treatment.map((cluster) => cluster.risk),
    baseline.map((cluster) => cluster.risk),
    options,
  )
}

/** Clusters are heads: what a policy's cluster is called. */
export const headName = (policy: Pick<JudgedPolicy, 'ensemble' | 'head'>): string => `${policy.ensemble}/${policy.head}`

function byHead(policies: readonly JudgedPolicy[]): Map<string, Cluster> {
  const groups = new Map<string, JudgedPolicy[]>()
  for (const policy of policies) groups.set(headName(policy), [...(groups.get(headName(policy)) ?? []), policy])
  return new Map(
    [...groups].map(([name, members]) => {
      const below = members.map((policy) => policy.belowReference)
      const cluster = {
        value: mean(members.map((policy) => policy.value)),
        finalKl: mean(members.map((policy) => policy.finalKl)),
        risk: below.filter(Boolean).length / below.length,
        below,
      }
      return [name, cluster]
    }),
  )
}

/** Rules in the order they are applied; the first that speaks decides. */
export function decide(
  numbers: VerdictNumbers,
  input: Pick<VerdictInput, 'preconditions' | 'gate' | 'rules'>,
): { outcome: Outcome; reasons: string[] } {
  const { rules } = input
  const failed = (checks: readonly Check[]) =>
    checks.filter((check) => !check.passed).map((check) => describeCheck(check))
  const untrained = failed(input.preconditions)
  if (untrained.length > 0) return { outcome: 'not trained', reasons: untrained }
  const closed = failed(input.gate)
  if (closed.length > 0)
    return { outcome: 'inconclusive', reasons: ['The gate is closed: this world cannot show the effect.', ...closed] }
  const kl = numbers.klDifference
  const klText = `Final KL differs by ${percent(kl.estimate)} (${percent(kl.low)} to ${percent(kl.high)}); ${percent(rules.klTolerance)} is allowed.`
  if (!kl.matched) return { outcome: 'inconclusive', reasons: [klText] }
  return decideByVariance(numbers, rules, klText)
}

function decideByVariance(
  numbers: VerdictNumbers,
  rules: StudyConfig['verdict'],
  klText: string,
): { outcome: Outcome; reasons: string[] } {
  const { varianceRatio: ratio, pitmanMorgan: test, riskDifference: risk } = numbers
  const alpha = 1 - rules.level
  const ratioText = `Variance over heads, treatment by baseline: ${ratio.estimate.toFixed(2)} (${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)}), Pitman-Morgan p = ${test.p.toPrecision(2)}.`
  const riskText = `Risk of ending below the reference changes by ${percent(risk.estimate)} (${percent(risk.low)} to ${percent(risk.high)}).`
  const { meanDifference: change } = numbers
  const meanText = `Mean over policies changes by ${change.estimate.toFixed(2)} (${change.low.toFixed(2)} to ${change.high.toFixed(2)}).`
  const reasons = [klText, ratioText, riskText, meanText]
  if (ratio.high < rules.holdsBelow && test.p < alpha) {
    // The claim is about variance; whether the risk falls with it is said beside it.
    const unshown = risk.high < 0 ? [] : ['The variance falls; that the risk falls with it is not shown.']
    if (risk.estimate <= rules.maxRiskIncrease) return { outcome: 'holds', reasons: [...reasons, ...unshown] }
    return { outcome: 'inconclusive', reasons: [...reasons, 'The variance falls and the risk does not.'] }
  }
  if (ratio.low > rules.failsAbove) {
    return { outcome: 'fails', reasons: [...reasons, `The whole interval lies above ${rules.failsAbove}.`] }
  }
  return { outcome: 'inconclusive', reasons: [...reasons, 'The interval excludes neither.'] }
}

const percent = (value: number): string => `${(100 * value).toFixed(1)} %`

const describeCheck = (check: Check): string =>
  `${check.name}: ${check.value.toPrecision(3)}, expected ${check.rule} ${check.threshold}. ${check.meaning}`

/** The rules as sentences, for the report. */
export function rulesInWords(rules: StudyConfig['verdict']): string[] {
  return [
    'Not trained, if a precondition fails.',
    'Inconclusive, if the gate fails or the final KL of the two arms differs by more than ' +
      `${percent(rules.klTolerance)}.`,
    `Holds, if the ${percent(rules.level)} interval of the variance ratio lies below ${rules.holdsBelow}, Pitman-Morgan p < ${(1 - rules.level).toFixed(2)}, ` +
      `and the risk of ending below the reference does not rise by more than ${percent(rules.maxRiskIncrease)}.`,
    `Fails, if that interval lies above ${rules.failsAbove}.`,
    'Inconclusive otherwise.',
  ]
}
