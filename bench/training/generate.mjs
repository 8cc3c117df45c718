// Job 5: sampling from GPT-2 124M, 128 short prompts, 10 new tokens each.
import { decodeProducts, forwardProducts, headProducts } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { prompts, totalTokens } from '../support/workloads.mjs'

const SIZES = { full: { model: 'gpt2-124m', rows: 128 }, quick: { model: 'gpt2-tiny', rows: 8 } }
const NEW_TOKENS = 10
/** Greedy tokens are equal or not; log-probabilities are about -11 with differences of 1e-5 in fp32. */
const TOLERANCES = { float32: { greedy: 0, logprobs: 1e-4 }, bfloat16: { logprobs: 0.02 } }

export function define({ quick, say }) {
  const { model, rows: count } = SIZES[quick ? 'quick' : 'full']
  const config = CONFIGS[model]
  const folder = modelFolder(model, { say })
  const given = prompts({ seed: 23, rows: count, vocabSize: config.vocab_size, shortest: 2, longest: 8 })
  const rows = prompts({ seed: 29, rows: 16, vocabSize: config.vocab_size, shortest: 8, longest: 40 })
  const options = { folder, prompts: given, rows, newTokens: NEW_TOKENS }
  const side = (name, kind, dtype) => ({ name, kind, dtype, job: 'generate', options: { ...options, dtype } })
  const saves = 'padding, the LM head on prompts'
  const job = {
    name: 'training/generate',
    what: 'GPT-2 124M, batch 128, prompts 2-8, 10 new tokens',
    about: { model, rows: count, 'prompt tokens': totalTokens(given), 'new tokens': count * NEW_TOKENS },
    reference: 'transformers fp32',
    tolerances: TOLERANCES,
    contestants: [
      side('ours fp32', 'ours', 'float32'),
      side('ours bf16', 'ours', 'bfloat16'),
      side('transformers fp32', 'today', 'float32'),
      side('transformers bf16', 'today', 'bfloat16'),
    ],
    comparisons: [
      { ours: 'ours fp32', peer: 'transformers fp32', saves, goal: { ratio: 1.5 } },
      { ours: 'ours bf16', peer: 'transformers bf16', saves, goal: { ratio: 2 } },
      { ours: 'ours bf16', peer: 'transformers fp32', saves: `${saves}, half of the bits`, goal: { ratio: 4 } },
    ],
    limit: {
      products: [
        ...forwardProducts(config, totalTokens(given), count),
        ...headProducts(config, count),
        ...decodeProducts(config, count, NEW_TOKENS - 1),
      ],
    },
  }
  return [job]
}
