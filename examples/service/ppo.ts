/**
 * PPO with a reward function written in TypeScript. Each step of the generator is one PPO step: responses are sampled, your function
 * scores their texts, the policy is updated. Leaving the loop early (`break`, an error, an abort) frees everything.
 */
import { Policy, type PpoStats, PpoTrainer, Tokenizer } from 'prudent'

/** One number a response; higher is better. May be asynchronous: a test run, a database, another service. */
export type RewardFunction = (prompts: readonly string[], responses: readonly string[]) => number[] | Promise<number[]>

export interface PpoRun {
  /** Folder of a causal language model with its tokenizer. */
  model: string
  prompts: readonly string[]
  reward: RewardFunction
  steps: number
  maxNewTokens?: number
  /** Weight of the KL penalty against the model as it was. */
  beta?: number
  lr?: number
  seed?: number
  signal?: AbortSignal
  /** Where the trained policy is saved at the end. */
  saveTo?: string
}

export interface StepReport {
  step: number
  meanReward: number
  /** KL of policy against reference per response, nats; an estimate from the samples. */
  meanKl: number
  stats: PpoStats
  /** One of the responses, to look at. */
  sample: string
}

export async function* ppo(run: PpoRun): AsyncGenerator<StepReport, void> {
  const { prompts, reward, steps, maxNewTokens = 32, beta = 0.05, lr = 1e-5, seed = 0, signal } = run
  const tokenizer = await Tokenizer.load(run.model)
  const ids = await tokenizer.encodeBatch(prompts)
  await using policy = await Policy.load(run.model, { dtype: 'float32', signal })
  await using reference = await policy.clone()
  await policy.addValueHead(seed)
  const options = { miniBatchSize: Math.ceil(prompts.length / 2) }
  await using trainer = await PpoTrainer.create(policy, reference, options)
  const klWeights = new Float32Array(prompts.length).fill(beta)

  for (let step = 1; step <= steps; step++) {
    await using rollout = await trainer.rollout({ ids, maxNewTokens, seed: seed + step }, { signal })
    const responses = await tokenizer.decodeBatch(rollout.responses)
    const scores = Float32Array.from(await reward(prompts, responses))
    const stats = await trainer.step(rollout, { scores, klWeights, seed: seed + step }, { lr, signal })
    const [meanReward, meanKl] = [mean(scores), mean(rollout.klSums)]
    yield { step, meanReward, meanKl, stats, sample: responses[0] ?? '' }
  }
  if (run.saveTo !== undefined) await policy.save(run.saveTo)
}

function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
