import { callNative } from '../addon/call.js'
import { loadAddon } from '../addon/load.js'
import { packRows, unpackRows } from '../data/batching.js'
import { meanOf } from '../training/pair-scores.js'
import { generateOptions } from './sampling.js'
import type { EvaluatePolicyOptions, PolicyEvaluation } from './types.js'

/** Fresh samples of a policy on given prompts, with their exact KL to the reference. */
export async function evaluatePolicy(options: EvaluatePolicyOptions): Promise<PolicyEvaluation> {
  const { policy, reference, prompts, signal, batchTokens } = options
  const sampled = await callNative({ signal }, (call) =>
    policy.generate(packRows(prompts), generateOptions(options.sampling, options), call),
  )
  const responses = unpackRows(sampled)
  const rows = packRows(prompts.map((prompt, row) => Int32Array.from([...prompt, ...(responses[row] as Int32Array)])))
  const promptLengths = Int32Array.from(prompts, (prompt) => prompt.length)
  const exactKl = await callNative({ signal }, (call) =>
    loadAddon().exactKl(policy, reference, rows, promptLengths, { batchTokens }, call),
  )
  const texts = options.tokenizer ? await options.tokenizer.decodeBatch(responses, { skipSpecialTokens: true }) : []
  return { responses, texts, exactKl, meanKl: meanOf(exactKl) }
}
