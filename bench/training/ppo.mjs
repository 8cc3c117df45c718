// Job 6: a whole PPO step of GPT-2 124M with the reward given, against classic TRL's own PPOTrainer and the best eager PyTorch.
import { decodeProducts, forwardProducts, headProducts, withBackward } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { Random } from '../support/random.mjs'
import { prompts, totalTokens } from '../support/workloads.mjs'

const SIZES = { full: { model: 'gpt2-124m', rows: 128 }, quick: { model: 'gpt2-tiny', rows: 8 } }
const NEW_TOKENS = 10
const EPOCHS = 4
/**
 * One whole step from greedy responses; later epochs' losses hold the updates before them. In bf16 some greedy tokens differ, and with
 * them the values; what must agree are the means over all tokens, which PyTorch's own bf16 autocast moves by 0.17 (value loss) and
 * 0.15 (values): twice that is allowed. The policy loss is a mean of whitened advantages, near zero, and the policy's KL in the first
 * step a mean of tiny differences: both are compared in fp32 alone.
 */
const TOLERANCES = {
  float32: { valueLoss: 1e-3, returns: 1e-3, values: 1e-3, policyKl: 0.02, policyLoss: 0.02, tokens: 0 },
  bfloat16: { valueLoss: 0.34, returns: 0.02, values: 0.3, policyKl: null, policyLoss: null },
}

export function define({ quick, say }) {
  const { model, rows } = SIZES[quick ? 'quick' : 'full']
  const config = CONFIGS[model]
  const folder = modelFolder(model, { say })
  const given = prompts({ seed: 31, rows, vocabSize: config.vocab_size, shortest: 2, longest: 8 })
  const random = new Random(37)
  const scores = Array.from({ length: rows }, () => Number(random.normal().toFixed(4)))
  const options = { folder, prompts: given, scores, newTokens: NEW_TOKENS, klCoef: 0.05, lr: 1.41e-5 }
  const ours = (name, dtype) => ({ name, kind: 'ours', dtype, job: 'ppo', options: { ...options, dtype } })
  const trl = (name, generateBatch, more) => ({
    ...{ name, kind: 'classic', dtype: 'float32', job: 'ppo_trl', options, params: { generateBatch }, ...more },
  })
  const eager = (name, dtype) => ({
    ...{ name, kind: 'today', dtype, job: 'ppo_eager' },
    options: { ...options, bf16: dtype === 'bfloat16' },
  })
  const both = [ours('ours fp32', 'float32'), ours('ours bf16', 'bfloat16')]
  const job = {
    name: 'training/ppo',
    what: 'PPO step: GPT-2 124M, batch and mini-batch 128, 4 epochs, 10 new tokens',
    about: { model, rows, 'prompt tokens': totalTokens(given), 'new tokens': rows * NEW_TOKENS, epochs: EPOCHS },
    steps: true,
    tolerances: TOLERANCES,
    limit: { products: ppoProducts(config, given, rows) },
  }
  const saves = 'padding, logits nobody reads, a forward whose result is known'
  // One peer at a time: each side holds gigabytes of weights and moments.
  return [
    {
      ...job,
      reference: 'TRL, one generate()',
      contestants: [
        ...both,
        trl('TRL, one generate()', rows),
        trl('TRL default', 4, { like: 'TRL, one generate()', checked: false }),
      ],
      comparisons: [
        { ours: 'ours bf16', peer: 'TRL, one generate()', saves, goal: { ratio: 3.5, memory: 0.4, above: 0.2 } },
        { ours: 'ours bf16', peer: 'TRL default', saves, goal: { ratio: 4.5 } },
        { ours: 'ours fp32', peer: 'TRL, one generate()', saves, goal: { ratio: 1.3 } },
      ],
    },
    {
      ...job,
      reference: 'best eager fp32',
      contestants: [...both, eager('best eager fp32', 'float32'), eager('best eager bf16', 'bfloat16')],
      comparisons: [
        { ours: 'ours bf16', peer: 'best eager bf16', saves, goal: { ratio: 1.4 } },
        { ours: 'ours fp32', peer: 'best eager fp32', saves },
      ],
    },
  ]
}

/** Generation; the reference's forward; forwards and backwards of the epochs, the first of which also gives the old log-probs. */
function ppoProducts(config, given, rows) {
  const prompt = totalTokens(given)
  const responses = rows * NEW_TOKENS
  const all = prompt + responses
  const forward = [...forwardProducts(config, all, responses), ...headProducts(config, responses)]
  const epochs = withBackward(forward).map((one) => ({ ...one, count: one.count * EPOCHS }))
  const generation = [
    ...forwardProducts(config, prompt, rows),
    ...headProducts(config, rows),
    ...decodeProducts(config, rows, NEW_TOKENS - 1),
  ]
  return [...generation, ...forward, ...epochs]
}
