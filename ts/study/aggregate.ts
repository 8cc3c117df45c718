/** From the policies' results to arms, distributions and verdicts. */

import { Random } from '../data/random.js'
import { PrudentError } from '../errors.js'
import { mean, standardDeviation, variance } from '../evaluation/describe.js'
import type { StudyConfig } from './config.js'
import { type Arm, type Comparison, type StudyPlan, unitName } from './plan.js'
import type { PolicyCurves } from './policy-unit.js'
import type { ArmSummary, Check, Curve, PolicyResult, Summary, Verdict } from './summary.js'
import { compareArms, decide, type JudgedPolicy } from './verdict.js'

export interface FinishedPolicy extends PolicyResult {
  curves: PolicyCurves
}

/** @throws E_STATE naming the policies of the plan that have no result, or results that are not in the plan. */
export function requireComplete(plan: StudyPlan, results: readonly PolicyResult[]): void {
  const planned = new Set(plan.policies.map(unitName))
  const present = new Set(results.map(unitName))
  const missing = [...planned].filter((name) => !present.has(name))
  const unknown = [...present].filter((name) => !planned.has(name))
  if (results.length !== present.size)
    throw new PrudentError('E_STATE', `aggregate: ${results.length - present.size} policies twice`)
  if (missing.length === 0 && unknown.length === 0) return
  const list = (names: string[]) =>
    `${names.slice(0, 10).join(', ')}${names.length > 10 ? ` and ${names.length - 10} more` : ''}`
  const parts = [
    missing.length > 0 ? `missing ${list(missing)}` : '',
    unknown.length > 0 ? `not planned ${list(unknown)}` : '',
  ]
  throw new PrudentError('E_STATE', `aggregate: ${parts.filter(Boolean).join('; ')}`, {
    expected: `${planned.size} policies`,
    received: `${present.size} policies`,
  })
}

export function summariseArm(arm: Arm, results: readonly FinishedPolicy[], beta: number): ArmSummary {
  const own = results.filter((result) => result.arm === arm.id)
  const spread = (values: number[]) => ({ mean: mean(values), std: values.length > 1 ? standardDeviation(values) : 0 })
  return {
    id: arm.id,
    recipe: arm.recipe,
    method: arm.method,
    center: arm.center,
    beta,
    policies: own.length,
    finalKl: spread(own.map((result) => result.finalKl)),
    proxyGain: spread(own.map((result) => result.proxyGain)),
    kl: curveOver(own.map((result) => result.curves.kl)),
    proxyReward: curveOver(own.map((result) => result.curves.proxy)),
  }
}

/** One row a policy; as many steps as all of them have. */
export function curveOver(rows: readonly (readonly number[])[]): Curve {
  const steps = Math.min(...rows.map((row) => row.length))
  const at = (step: number) => rows.map((row) => row[step] as number)
  const step = Array.from({ length: steps }, (_, i) => i + 1)
  return {
    step,
    mean: step.map((_, i) => mean(at(i))),
    std: step.map((_, i) => (rows.length > 1 ? standardDeviation(at(i)) : 0)),
  }
}

export interface ReferenceMeans {
  truth: number[]
  model: number[]
}

export function summariseJudges(
  arms: readonly Arm[],
  results: readonly PolicyResult[],
  reference: ReferenceMeans,
): Summary['figures']['judged'] {
  return (['truth', 'model'] as const).map((judge) => {
    const baseline = mean(reference[judge])
    return {
      judge,
      reference: { means: reference[judge], mean: baseline, variance: variance(reference[judge]) },
      arms: arms.map((arm) => {
        const means = results.filter((result) => result.arm === arm.id).map((result) => judgedValue(result, judge))
        const risk = means.filter((value) => value < baseline).length / means.length
        return {
          arm: arm.id,
          means,
          mean: mean(means),
          variance: means.length > 1 ? variance(means) : 0,
          riskBelowReference: risk,
        }
      }),
    }
  })
}

const judgedValue = (result: PolicyResult, judge: 'truth' | 'model'): number =>
  judge === 'truth' ? result.truth : result.judge

export interface VerdictContext {
  config: StudyConfig
  results: readonly PolicyResult[]
  reference: ReferenceMeans
  preconditions: readonly Check[]
  gate: readonly Check[]
}

/** One verdict for every comparison, treatment and judge; the headline is sigma of the first comparison by the true reward. */
export function verdictsOf(plan: StudyPlan, context: VerdictContext): Verdict[] {
  return plan.comparisons.flatMap((comparison) =>
    comparison.treatments.flatMap((treatment) =>
      (['truth', 'model'] as const).map((judge) => verdictOf(comparison, treatment, judge, context)),
    ),
  )
}

function verdictOf(
  comparison: Comparison,
  treatment: string,
  judge: 'truth' | 'model',
  context: VerdictContext,
): Verdict {
  const { config, results, preconditions, gate } = context
  const reference = mean(context.reference[judge])
  const judged = (arm: string): JudgedPolicy[] =>
    results
      .filter((result) => result.arm === arm)
      .map((result) => ({
        ...result,
        value: judgedValue(result, judge),
        belowReference: judgedValue(result, judge) < reference,
      }))
  const random = Random.from(config.seed, 'verdict', treatment, judge)
  const numbers = compareArms({
    baseline: judged(comparison.baseline),
    treatment: judged(treatment),
    rules: config.verdict,
    random,
  })
  const { recipe, center, baseline } = comparison
  return {
    id: `${treatment} by ${judge}`,
    recipe,
    center,
    judge,
    primary: comparison.primary && judge === 'truth' && treatment === `${recipe}/sigma/${center}`,
    baseline,
    treatment,
    ...decide(numbers, { preconditions, gate, rules: config.verdict }),
    ...numbers,
  }
}

/** The study's answer: the primary verdict, and what the control says about it. */
export function headlineOf(verdicts: readonly Verdict[]): Summary['headline'] {
  const primary = verdicts.find((verdict) => verdict.primary)
  if (!primary) return { outcome: 'inconclusive', sentence: 'No comparison of sigma with vanilla was planned.' }
  const { recipe, center, judge, outcome } = primary
  const control = verdicts.find(
    (verdict) => verdict.treatment === `${recipe}/shuffled/${center}` && verdict.judge === judge,
  )
  // Shuffled sigma knows nothing of the response that it weighs: what it achieves is not owed to that knowledge.
  const both = outcome === 'holds' && control?.outcome === 'holds'
  const note = `The control, sigma shuffled within the batch, holds too (${control?.varianceRatio.estimate.toFixed(2)}): not all of the effect is sigma's knowledge of the response.`
  return { outcome, sentence: [...primary.reasons, ...(both ? [note] : [])].join(' ') }
}
