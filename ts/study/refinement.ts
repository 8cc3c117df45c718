/**
 * The last step to equal KL. Calibration meets the target on heads that the comparison never sees; on the heads of the comparison the means
 * still differ by chance, with forty policies an arm by about 6 %. So an arm whose mean final KL is off the baseline's is trained again at a
 * moved beta, as the paper tunes beta on the sets that it compares. What decides here sees beta and KL and nothing else of a policy.
 */
import type { Random } from '../data/random.js'
import { mean } from '../evaluation/describe.js'
import { nextBeta, slopeOf } from './calibration.js'
import { relativeDifference, resample } from './statistics/intervals.js'
import type { Interval, Refinement } from './summary.js'
import { headName } from './verdict.js'

/** All that refinement knows of a policy. */
export interface FinalKl {
  ensemble: number
  head: number
  finalKl: number
}

export interface KlMeasurement {
  kl: number
  /** The baseline's, on the same heads. */
  target: number
  /** kl by target, minus 1 */
  difference: Interval
}

export interface RefinementOptions {
  firstBeta: number
  /** d log KL / d log beta as calibration met it; null where one trial was enough for every arm. */
  slope: number | null
  tolerance: number
  /** Most trainings after the first. */
  limit: number
}

export interface Attempt extends KlMeasurement {
  beta: number
  matched: boolean
}

/** KL of an optimal policy falls with the square of beta, that of one which PPO has not moved all the way with less. */
const USUAL_SLOPE = -1
const SLOPES = { steepest: -3, flattest: -0.4 }
/** In log beta. A mean that is a few percent off asks for little; more is the noise of a slope. */
const LARGEST_STEP = Math.log(1.5)

/**
 * Trains until the means match or the limit is reached.
 * @param measure KL of the arm trained at a beta; attempt 0 is the calibrated one
 * @returns every attempt in order, and the number of the one nearest in KL
 */
export async function refineBeta(
  measure: (beta: number, attempt: number) => Promise<KlMeasurement>,
  options: RefinementOptions,
): Promise<{ attempts: Attempt[]; used: number }> {
  const { tolerance, limit } = options
  const attempts: Attempt[] = []
  let beta = options.firstBeta
  for (;;) {
    const measured = await measure(beta, attempts.length)
    const matched = Math.abs(measured.difference.estimate) <= tolerance
    attempts.push({ ...measured, beta, matched })
    if (matched || attempts.length > limit) break
    const rule = { slope: slopeOver(attempts, options.slope), smallest: 0, largest: LARGEST_STEP }
    beta = nextBeta(attempts, measured.target, rule)
  }
  const distance = (attempt: Attempt) => Math.abs(attempt.difference.estimate)
  const best = attempts.reduce((a, b) => (distance(b) < distance(a) ? b : a))
  return { attempts, used: attempts.indexOf(best) }
}

/** The secant of the attempts, or calibration's slope: attempts lie close together, so a slope out of all proportion is noise and is bounded. */
function slopeOver(attempts: readonly Attempt[], known: number | null): number {
  const slope = slopeOf(attempts) ?? known ?? USUAL_SLOPE
  return Math.min(Math.max(slope, SLOPES.steepest), SLOPES.flattest)
}

export interface MatchOptions extends RefinementOptions {
  baseline: string
  level: number
  resamples: number
  /** A new generator with the same seed every time: attempts share resamples. */
  random: () => Random
}

/** Trains an arm until its final KL matches the baseline's; the policies of the nearest attempt, and what was done. */
export async function trainMatched<Policy extends FinalKl>(
  train: (beta: number, attempt: number) => Promise<readonly Policy[]>,
  baseline: readonly FinalKl[],
  options: MatchOptions,
): Promise<{ beta: number; policies: readonly Policy[]; refinement: Refinement }> {
  const trained: (readonly Policy[])[] = []
  const { attempts, used } = await refineBeta(async (beta, attempt) => {
    const policies = await train(beta, attempt)
    trained.push(policies)
    return compareKl(policies, baseline, options)
  }, options)
  const chosen = attempts[used] as Attempt
  return {
    beta: chosen.beta,
    policies: trained[used] as readonly Policy[],
    refinement: {
      baseline: options.baseline,
      targetKl: chosen.target,
      tolerance: options.tolerance,
      limit: options.limit,
      matched: chosen.matched,
      attempts: attempts.map(({ target, ...attempt }, i) => ({ ...attempt, used: i === used })),
    },
  }
}

/** Means of final KL over the heads that both arms have. */
export function compareKl(
  treatment: readonly FinalKl[],
  baseline: readonly FinalKl[],
  options: Pick<MatchOptions, 'level' | 'resamples' | 'random'>,
): KlMeasurement {
  const [own, other] = [klByHead(treatment), klByHead(baseline)]
  const heads = [...own.keys()].filter((head) => other.has(head))
  const [ownKl, otherKl] = [own, other].map((kls) => heads.map((head) => kls.get(head) as number)) as [
    number[],
    number[],
  ]
  const draws = resample(heads.length, options.resamples, options.random())
  return {
    kl: mean(ownKl),
    target: mean(otherKl),
    difference: relativeDifference(ownKl, otherKl, { level: options.level, draws }),
  }
}

/** Trials of one head are averaged first, as the verdict does. */
function klByHead(policies: readonly FinalKl[]): Map<string, number> {
  const groups = new Map<string, number[]>()
  for (const policy of policies) groups.set(headName(policy), [...(groups.get(headName(policy)) ?? []), policy.finalKl])
  return new Map([...groups].map(([head, kls]) => [head, mean(kls)]))
}
