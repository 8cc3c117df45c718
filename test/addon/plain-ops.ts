/** The three public ops written out as loops over numbers: what the native ones are held against. */
import type {
  BradleyTerryArgs,
  BradleyTerryResult,
  PpoLossArgs,
  VarianceKlAdvantageArgs,
  VarianceKlAdvantageResult,
} from '../../ts/addon/native.js'

const at = (values: ArrayLike<number>, index: number): number => values[index] as number

/** Valid positions of a [batch, time] array, row by row. */
function validPositions(lengths: Int32Array, time: number): number[] {
  return Array.from(lengths, (length, row) => Array.from({ length }, (_, t) => row * time + t)).flat()
}

function moments(values: number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1) }
}

function klPerToken(args: VarianceKlAdvantageArgs, index: number): number {
  const difference = at(args.logprobs, index) - at(args.refLogprobs, index)
  switch (args.klPenalty ?? 'kl') {
    case 'kl':
      return difference
    case 'abs':
      return Math.abs(difference)
    case 'mse':
      return 0.5 * difference ** 2
    case 'k3':
      return Math.expm1(-difference) + difference
    case 'full':
      return at(args.klPerToken as Float32Array, index)
  }
}

export function plainVarianceKlAdvantage(args: VarianceKlAdvantageArgs): VarianceKlAdvantageResult {
  const [batch, time] = args.shape
  const { gamma = 1, lambda = 0.95, whiten = true, whitenRewards = false } = args
  const blank = () => new Float64Array(batch * time)
  const [rewards, advantages, returns, kl] = [blank(), blank(), blank(), blank()]
  const valid = validPositions(args.responseLengths, time)
  for (const index of valid) {
    const row = Math.floor(index / time)
    const last = index % time === at(args.responseLengths, row) - 1
    kl[index] = klPerToken(args, index)
    rewards[index] = -at(args.klWeights, row) * at(kl, index) + (last ? at(args.scores, row) : 0)
  }
  const used = rewards.slice()
  if (whitenRewards) {
    const { mean, variance } = moments(valid.map((index) => at(rewards, index)))
    for (const index of valid) used[index] = (at(rewards, index) - mean) / Math.sqrt(variance + 1e-8) + mean
  }
  for (let row = 0; row < batch; row++) {
    let advantage = 0
    for (let t = at(args.responseLengths, row) - 1; t >= 0; t--) {
      const index = row * time + t
      const next = t + 1 < at(args.responseLengths, row) ? at(args.values, index + 1) : 0
      advantage = at(used, index) + gamma * next - at(args.values, index) + gamma * lambda * advantage
      advantages[index] = advantage
      returns[index] = advantage + at(args.values, index)
    }
  }
  if (whiten) {
    const { mean, variance } = moments(valid.map((index) => at(advantages, index)))
    for (const index of valid) advantages[index] = (at(advantages, index) - mean) / Math.sqrt(variance + 1e-8)
  }
  const [a, b, c, d] = [whitenRewards ? used : rewards, advantages, returns, kl].map((values) =>
    Float32Array.from(values),
  )
  return { rewards: a, advantages: b, returns: c, kl: d } as VarianceKlAdvantageResult
}

export interface PlainPpoLoss {
  loss: number
  policyLoss: number
  valueLoss: number
}

/** The loss alone; its gradients are taken by differences. */
export function plainPpoLoss(args: PpoLossArgs): PlainPpoLoss {
  const { clipRange = 0.2, clipRangeValue = 0.2, vfCoef = 0.1 } = args
  const clip = (value: number, low: number, high: number) => Math.min(Math.max(value, low), high)
  const valid = validPositions(args.responseLengths, args.shape[1])
  let policyLoss = 0
  let valueLoss = 0
  for (const index of valid) {
    const advantage = at(args.advantages, index)
    const ratio = Math.exp(at(args.logprobs, index) - at(args.oldLogprobs, index))
    policyLoss += Math.max(-advantage * ratio, -advantage * clip(ratio, 1 - clipRange, 1 + clipRange))
    const old = at(args.oldValues, index)
    const value = at(args.values, index)
    const clipped = clip(value, old - clipRangeValue, old + clipRangeValue)
    valueLoss += 0.5 * Math.max((value - at(args.returns, index)) ** 2, (clipped - at(args.returns, index)) ** 2)
  }
  policyLoss /= valid.length
  valueLoss /= valid.length
  return { policyLoss, valueLoss, loss: policyLoss + vfCoef * valueLoss }
}

export function plainBradleyTerry({ chosen, rejected, shape: [pairs, heads] }: BradleyTerryArgs): BradleyTerryResult {
  const lossPerHead = new Float32Array(heads)
  const accuracyPerHead = new Float32Array(heads)
  const gradChosen = new Float32Array(pairs * heads)
  for (let head = 0; head < heads; head++) {
    let loss = 0
    let right = 0
    for (let pair = 0; pair < pairs; pair++) {
      const margin = at(chosen, pair * heads + head) - at(rejected, pair * heads + head)
      loss += Math.max(-margin, 0) + Math.log1p(Math.exp(-Math.abs(margin)))
      right += margin > 0 ? 1 : 0
      gradChosen[pair * heads + head] = -1 / (1 + Math.exp(margin)) / pairs
    }
    lossPerHead[head] = loss / pairs
    accuracyPerHead[head] = right / pairs
  }
  const loss = lossPerHead.reduce((sum, value) => sum + value, 0)
  return { loss, lossPerHead, accuracyPerHead, gradChosen, gradRejected: gradChosen.map((gradient) => -gradient) }
}
