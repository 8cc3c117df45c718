import { Policy, RewardModel } from 'prudent'
import { encodePrompts, type Objective, rewardScorer, sigmaOf, Tokenizer, trainPolicy } from 'prudent/policy'

const [policyFolder = '', rewardFolder = ''] = process.argv.slice(2)

/** The mean of the heads, but no more than 1 of it counts; KL is dearer where the heads disagree more than usual. */
const cautious: Objective = (input) => {
  const { scores, heads, ensemble, beta } = input
  const sigma = sigmaOf(input)
  const usual = sigma.reduce((sum, value) => sum + value, 0) / sigma.length
  const rewards = Float32Array.from(sigma, (_, row) => {
    const mean = ensemble.reduce((sum, head) => sum + (scores[row * heads + head] as number), 0) / ensemble.length
    return Math.min(1, mean)
  })
  const klWeights = Float32Array.from(sigma, (value) => beta * Math.max(1, value / usual))
  return { scores: rewards, klWeights, sigma: Float32Array.from(sigma) }
}

await using policy = await Policy.load(policyFolder, { dtype: 'float32' })
await using reference = await policy.clone()
await using model = await RewardModel.load(rewardFolder, { dtype: 'float32' })
const policyTokenizer = await Tokenizer.load(policyFolder)
const scorerTokenizer = await Tokenizer.load(rewardFolder)

const { metrics } = await trainPolicy({
  policy,
  reference,
  scorer: rewardScorer({ model, policyTokenizer, scorerTokenizer, maxLength: 80 }),
  prompts: await encodePrompts(policyTokenizer, ['a film', 'the story', 'one of the best', 'i think']),
  settings: { batchSize: 4, miniBatchSize: 4, steps: 3, kl: { initial: 0.1 }, sampling: { maxNewTokens: 6 } },
  objective: cautious,
})
console.log(JSON.stringify(metrics.map((step) => step['objective/sigma_mean'])))
