import { Policy, PpoTrainer } from '../../dist/ts/index.js'
import { heldBytes, timed } from './timed.mjs'

/** Whole PPO steps of GPT-2 with the reward given: rollout, advantages, ppoEpochs x mini-batches. */
export async function load({ folder, dtype, prompts, scores, newTokens, klCoef, lr, trainer: more = {} }) {
  const policy = await Policy.load(folder, { dtype })
  const reference = await policy.clone()
  const trainer = await PpoTrainer.create(policy, reference, { ppoEpochs: 4, miniBatchSize: prompts.length, ...more })
  const given = {
    scores: Float32Array.from(scores),
    klWeights: new Float32Array(prompts.length).fill(klCoef),
  }
  let seed = 0
  const ppoStep = async (greedy) => {
    seed += 1
    const sampling = { maxNewTokens: newTokens, eosTokenIds: [], seed, greedy }
    const rolled = await timed(() => trainer.rollout({ ids: prompts, ...sampling }))
    const stepped = await timed(() => trainer.step(rolled.value, { ...given, seed }, { lr }))
    const responses = rolled.value.responses
    await rolled.value.dispose()
    return { rolloutSeconds: rolled.seconds, updateSeconds: stepped.seconds, stats: stepped.value, responses }
  }
  const info = policy.info
  return {
    held: heldBytes(info, { training: true }) + reference.info.parameterBytes,
    // Greedy, so that every side learns from the same responses.
    check: async () => {
      const { stats, responses } = await ppoStep(true)
      const tokens = responses.flatMap((row) => [...row])
      return { ...checked(stats), ...(info.dtype === 'float32' ? { tokens } : {}) }
    },
    run: async () => {
      const { rolloutSeconds, updateSeconds } = await ppoStep(false)
      const tokens = prompts.length * newTokens
      return { seconds: rolloutSeconds + updateSeconds, rolloutSeconds, updateSeconds, tokens }
    },
  }
}

function checked(stats) {
  return {
    valueLoss: [stats['ppo/loss/value']],
    returns: [stats['ppo/returns/mean'], stats['ppo/returns/var']],
    values: [stats['ppo/val/vpred'], stats['ppo/val/error']],
    policyKl: [stats['ppo/policy/policykl'], stats['ppo/policy/approxkl']],
    policyLoss: [stats['ppo/loss/policy']],
  }
}
