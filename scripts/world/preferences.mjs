/** Preference pairs: two responses to one prompt, labelled by Bradley-Terry from the true reward, so that labels are as noisy as people's. */
import { drawExchange } from './texts.mjs'

export function drawPairs(random, rows, drawStyle, trueReward) {
  return Array.from({ length: rows }, () => drawPair(random, drawStyle, trueReward))
}

function drawPair(random, drawStyle, trueReward) {
  const { prompt, respond } = drawExchange(random, drawStyle)
  const first = respond().text
  let second = respond().text
  while (second === first) second = respond().text
  const gap = trueReward.reward(first) - trueReward.reward(second)
  const firstWins = random.uniform() < 1 / (1 + Math.exp(-gap))
  const conversation = (response) => [
    { content: prompt, role: 'user' },
    { content: response, role: 'assistant' },
  ]
  return { chosen: conversation(firstWins ? first : second), rejected: conversation(firstWins ? second : first) }
}
