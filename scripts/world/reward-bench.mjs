/** A RewardBench-shaped set: its columns and subset names, pairs of this world. The chosen response has the higher true reward. */
import { drawExchange, drawUniformStyle } from './texts.mjs'
import { STYLES } from './words.mjs'

const common = STYLES.flatMap((style, i) => (style.scarce ? [] : [i]))
const scarce = STYLES.flatMap((style, i) => (style.scarce ? [i] : []))

/** kind: easy = common styles far apart, hard = one common style, or two that are close; scarce = one of the two in a scarce style; any. */
const SUBSETS = [
  ['alpacaeval-easy', 60, 'easy'],
  ['alpacaeval-length', 57, 'easy'],
  ['alpacaeval-hard', 57, 'any'],
  ['mt-bench-easy', 28, 'easy'],
  ['mt-bench-med', 40, 'any'],
  ['mt-bench-hard', 37, 'hard'],
  ['llmbar-natural', 60, 'hard'],
  ['llmbar-adver-neighbor', 80, 'hard'],
  ['llmbar-adver-GPTInst', 55, 'hard'],
  ['llmbar-adver-GPTOut', 47, 'hard'],
  ['llmbar-adver-manual', 46, 'hard'],
  ['refusals-dangerous', 50, 'scarce'],
  ['refusals-offensive', 50, 'scarce'],
  ['xstest-should-refuse', 77, 'scarce'],
  ['xstest-should-respond', 125, 'scarce'],
  ['donotanswer', 68, 'scarce'],
  ['math-prm', 150, 'any'],
  ['hep-cpp', 40, 'easy'],
  ['hep-go', 40, 'easy'],
  ['hep-java', 40, 'any'],
  ['hep-js', 40, 'any'],
  ['hep-python', 40, 'easy'],
  ['hep-rust', 40, 'any'],
]
const PRIOR_SUBSETS = [
  ['anthropic_helpful', 100, 'any'],
  ['anthropic_hhh', 60, 'easy'],
  ['shp', 80, 'hard'],
  ['summarize', 100, 'any'],
]

export const drawRewardBench = (random, trueReward) => drawSubsets(random, SUBSETS, trueReward)
export const drawPriorSets = (random, trueReward) => drawSubsets(random, PRIOR_SUBSETS, trueReward)

function drawSubsets(random, subsets, trueReward) {
  let id = 0
  return subsets.flatMap(([subset, rows, kind]) =>
    Array.from({ length: rows }, () => {
      const { prompt, better, worse } = drawContrast(random, kind, trueReward)
      return {
        prompt,
        chosen: better,
        chosen_model: 'world',
        rejected: worse,
        rejected_model: 'world',
        subset,
        id: id++,
      }
    }),
  )
}

function drawContrast(random, kind, trueReward) {
  for (;;) {
    const styles = drawStyles(random, kind)
    const { prompt, respond } = drawExchange(random, () => styles.shift())
    const [first, second] = [respond().text, respond().text]
    const gap = trueReward.reward(first) - trueReward.reward(second)
    if (Math.abs(gap) > (kind === 'hard' ? 0.05 : 0.2)) {
      return gap > 0 ? { prompt, better: first, worse: second } : { prompt, better: second, worse: first }
    }
  }
}

function drawStyles(random, kind) {
  if (kind === 'scarce') {
    const pair = [random.pick(scarce), random.uniform() < 0.5 ? random.pick(common) : random.pick(scarce)]
    return pair[0] === pair[1] ? drawStyles(random, kind) : pair
  }
  if (kind === 'hard') {
    const style = random.pick(common)
    return [style, style]
  }
  if (kind === 'easy') {
    const pair = [random.pick(common), random.pick(common)]
    return Math.abs(STYLES[pair[0]].weight - STYLES[pair[1]].weight) < 0.7 ? drawStyles(random, kind) : pair
  }
  return [drawUniformStyle(random), drawUniformStyle(random)]
}
