/** Figure 2: three arms; the worst has the highest estimate and the widest interval. Steps sum to zero and stay on the simplex. */

export interface BanditArm {
  arm: number
  reward: number
  estimate: number
  deviation: number
  reference: number
  unaware: number
  aware: number
}

export interface Bandit {
  arms: BanditArm[]
  returns: { reference: number; unaware: number; aware: number }
}

const ARMS = [
  { reward: 0.2, estimate: 0.9, deviation: 0.6 },
  { reward: 0.6, estimate: 0.5, deviation: 0.1 },
  { reward: 0.7, estimate: 0.6, deviation: 0.1 },
] as const
/** Squared length of the unaware step. */
const EPSILON = 0.04

/** Definitions 3.1 and 3.2 with steps that sum to zero; the second with epsilon times the smallest variance, as the paper couples them. */
export function threeArms(): Bandit {
  const start = 1 / ARMS.length
  const precisions = ARMS.map(({ deviation }) => 1 / deviation ** 2)
  const unaware = step(ARMS.map(() => 1))
  const aware = step(precisions)
  const arms = ARMS.map((arm, i) => ({
    arm: i + 1,
    ...arm,
    reference: start,
    unaware: start + (unaware[i] as number),
    aware: start + (aware[i] as number),
  }))
  const returnOf = (policy: 'reference' | 'unaware' | 'aware') =>
    arms.reduce((sum, arm) => sum + arm[policy] * arm.reward, 0)
  return {
    arms,
    returns: { reference: returnOf('reference'), unaware: returnOf('unaware'), aware: returnOf('aware') },
  }
}

/** argmax d'Rhat with sum d = 0 and sum d^2 / w <= epsilon / max w, for weights w. */
function step(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, w) => sum + w, 0)
  const centre = ARMS.reduce((sum, { estimate }, i) => sum + (weights[i] as number) * estimate, 0) / total
  const direction = ARMS.map(({ estimate }, i) => (weights[i] as number) * (estimate - centre))
  const square = direction.reduce((sum, d, i) => sum + (d * d) / (weights[i] as number), 0)
  const length = Math.sqrt(EPSILON / Math.max(...weights) / square)
  return direction.map((d) => length * d)
}
