import { Policy } from '../../dist/ts/index.js'
import { heldBytes, timed } from './timed.mjs'

/** Sampling with a KV cache. What is checked: log-probs of given rows, and in fp32 the greedy tokens. */
export async function load({ folder, dtype, prompts, rows, newTokens }) {
  const policy = await Policy.load(folder, { dtype })
  const sampling = { maxNewTokens: newTokens, eosTokenIds: [] }
  let seed = 0
  const sample = () => policy.generate({ ids: prompts, ...sampling, seed: ++seed })
  return {
    held: heldBytes(policy.info, { training: false }),
    check: async () => {
      const logprobs = (await policy.logprobs({ ids: rows })).flatMap((row) => [...row])
      if (policy.info.dtype !== 'float32') return { logprobs }
      const greedy = await policy.generate({ ids: prompts, ...sampling, greedy: true })
      return { logprobs, greedy: greedy.flatMap((row) => [...row]) }
    },
    run: async () => ({ seconds: (await timed(sample)).seconds, tokens: prompts.length * newTokens }),
  }
}
