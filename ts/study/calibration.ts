/**
 * The beta at which final policies lie at a wanted KL: bracketing and interpolation in log beta against log KL, which is close to straight,
 * with bisection as the fallback. Every arm of a comparison is brought to the same KL before it is compared.
 */
export interface CalibrationTrial {
  beta: number
  kl: number
}

export interface CalibrationOptions {
  target: number
  /** Relative. */
  tolerance: number
  firstBeta: number
  maxTrials: number
}

export interface CalibrationOutcome {
  beta: number
  kl: number
  matched: boolean
  trials: CalibrationTrial[]
}

/** How to go on while all trials lie on one side of the target. Steps are in log beta. */
export interface StepRule {
  /** d log KL / d log beta */
  slope: number
  smallest: number
  largest: number
}

/** @param measure mean final KL at a beta; falls as beta grows. */
export async function calibrateBeta(
  measure: (beta: number) => Promise<number>,
  options: CalibrationOptions,
): Promise<CalibrationOutcome> {
  const trials: CalibrationTrial[] = []
  let beta = options.firstBeta
  while (trials.length < options.maxTrials) {
    const kl = await measure(beta)
    trials.push({ beta, kl })
    if (relativeError(kl, options.target) <= options.tolerance) break
    beta = nextBeta(trials, options.target, { slope: slopeOf(trials) ?? -1, smallest: 0.05, largest: Math.log(4) })
  }
  const best = trials.reduce((a, b) =>
    relativeError(b.kl, options.target) < relativeError(a.kl, options.target) ? b : a,
  )
  return { ...best, matched: relativeError(best.kl, options.target) <= options.tolerance, trials }
}

/** 0 where both are: policies that did not move are as far from the reference as each other. */
export const relativeError = (kl: number, target: number): number => (kl === target ? 0 : Math.abs(kl / target - 1))

/** Log KL may not be finite where a policy never moved: such a trial only bounds. */
const excess = (trial: CalibrationTrial, target: number): number => Math.log(Math.max(trial.kl, 1e-9) / target)

/** Inside the bracket once there is one, beyond its open side before: never a beta that was tried. */
export function nextBeta(trials: readonly CalibrationTrial[], target: number, rule: StepRule): number {
  const byBeta = [...trials].sort((a, b) => a.beta - b.beta)
  const above = byBeta.filter((trial) => trial.kl > target).at(-1)
  const below = byBeta.find((trial) => trial.kl <= target)
  if (above && below && above.beta < below.beta) return between(above, below, target, trials)
  const latest = trials.at(-1) as CalibrationTrial
  const edge = (above ?? below ?? latest) as CalibrationTrial
  const step = -excess(edge, target) / rule.slope
  const bounded = Math.sign(excess(edge, target)) * Math.min(Math.max(Math.abs(step), rule.smallest), rule.largest)
  return edge.beta * Math.exp(bounded)
}

/** Interpolates; halves the bracket when the last two trials fell on one side, so that a bent curve cannot stall it. */
function between(
  above: CalibrationTrial,
  below: CalibrationTrial,
  target: number,
  trials: readonly CalibrationTrial[],
): number {
  const [low, high] = [Math.log(above.beta), Math.log(below.beta)]
  const [over, under] = [excess(above, target), -excess(below, target)]
  const sides = trials.slice(-3).map((trial) => trial.kl > target)
  const stalled = sides.length === 3 && sides.every((side) => side === sides[0])
  const share = stalled ? 0.5 : Math.min(Math.max(over / (over + under), 0.05), 0.95)
  return Math.exp(low + share * (high - low))
}

/** d log KL / d log beta over the outermost trials; null unless it falls. */
export function slopeOf(trials: readonly CalibrationTrial[]): number | null {
  const byBeta = [...trials].sort((a, b) => a.beta - b.beta)
  const [first, last] = [byBeta[0], byBeta.at(-1)]
  if (!first || !last || first.beta === last.beta) return null
  const slope = Math.log(Math.max(last.kl, 1e-9) / Math.max(first.kl, 1e-9)) / Math.log(last.beta / first.beta)
  return slope < -0.1 ? slope : null
}
