// Whether a row reaches its goal.

/**
 * @param {{ ratio: { median: number }, ours: object, peer: object, goal?: object }} row
 * @returns {{ text: string, met: boolean }[]} one entry a goal
 */
export function judgeGoals({ goal, ratio, ours, peer }) {
  if (!goal) return []
  const judged = []
  const add = (text, met) => judged.push({ text, met })
  if (goal.ratio !== undefined) add(`≥ ${goal.ratio}×`, ratio.median >= goal.ratio)
  if (goal.atMost !== undefined) add(`≤ ${goal.atMost}× the time`, 1 / ratio.median <= goal.atMost)
  if (goal.seconds !== undefined) add(`≤ ${goal.seconds} s`, ours.p50 <= goal.seconds)
  if (goal.memory !== undefined)
    add(`peak memory ≤ ${percent(goal.memory)}`, ours.peakBytes <= goal.memory * peer.peakBytes)
  if (goal.above !== undefined)
    add(`memory above states ≤ ${percent(goal.above)}`, ours.aboveHeldBytes <= goal.above * peer.aboveHeldBytes)
  if (goal.ofLimit !== undefined) add(`≥ ${percent(goal.ofLimit)} of the limit`, ours.ofLimit >= goal.ofLimit)
  return judged
}

export function percent(share) {
  return `${Math.round(share * 100)} %`
}
