// Job 2: preference pairs that share a long prompt, scored and trained on with and without computing the prompt twice.
import { BRADLEY_TERRY_TOLERANCES } from '../support/equal.mjs'
import { attentionFlops, forwardProducts, trainingProducts } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { prefixSaving, sharedPromptPairs } from '../support/workloads.mjs'

const SCORE = 'training/pairs-score'
const TRAIN = 'training/pairs-train'
const SHARE = 0.6
/** Of the ratio of tokens that sharing saves, what must arrive in time. */
const REACHED = 0.92
const SIZES = {
  full: {
    model: 'gemma-150m-1-head',
    pairs: 32,
    trained: 8,
    lengths: { median: 300, sigma: 0.5, shortest: 60, longest: 1000 },
  },
  quick: {
    model: 'gemma-tiny-1-head',
    pairs: 6,
    trained: 4,
    lengths: { median: 40, sigma: 0.5, shortest: 10, longest: 120 },
  },
}

export function jobNames() {
  return [SCORE, TRAIN]
}

export function define(context) {
  const size = SIZES[context.quick ? 'quick' : 'full']
  const config = CONFIGS[size.model]
  const folder = modelFolder(size.model, { say: context.say })
  const draw = (pairs, seed) =>
    sharedPromptPairs({ seed, pairs, vocabSize: config.vocab_size, lengths: size.lengths, share: SHARE })
  const given = { size, config, folder }
  return [scoring({ ...given, pairs: draw(size.pairs, 43) }), training({ ...given, pairs: draw(size.trained, 47) })]
}

function aboutPairs(model, pairs, { all, once, share }) {
  return {
    goal: Number((REACHED * (all / once)).toFixed(2)),
    about: {
      model,
      pairs: `${pairs.chosen.length}, ${all} tokens, ${once} with each prompt once (${(all / once).toFixed(2)}×)`,
      shared: `${Math.round(100 * share)} % in the median`,
    },
  }
}

/** Chosen and rejected in turn. */
function interleave({ chosen, rejected }) {
  return chosen.flatMap((row, pair) => [row, rejected[pair]])
}

function scoring({ size, config, folder, pairs }) {
  const rows = interleave(pairs)
  const saving = prefixSaving(pairs)
  const { goal, about } = aboutPairs(size.model, pairs, saving)
  const ours = (name, dtype, sharePrefixes) => ({
    ...{ name, kind: 'ours', dtype, job: 'score' },
    options: { folder, dtype, rows, sharePrefixes },
  })
  const peer = (name, dtype) => ({
    ...{ name, kind: 'today', dtype, job: 'score', params: { order: 'sorted' } },
    options: { folder, dtype, rows, batch: 8 },
  })
  return {
    name: SCORE,
    what: 'pairs with a common prompt, scored',
    about,
    reference: 'transformers fp32 sorted',
    contestants: [
      ours('ours fp32', 'float32', true),
      ours('ours fp32, prompts twice', 'float32', false),
      ours('ours bf16', 'bfloat16', true),
      ours('ours bf16, prompts twice', 'bfloat16', false),
      peer('transformers fp32 sorted', 'float32'),
      peer('transformers bf16 sorted', 'bfloat16'),
    ],
    comparisons: comparisons(goal, 'sorted'),
    limit: {
      products: forwardProducts(config, saving.once, rows.length),
      extraFlops: attentionFlops(config, rows, saving.shared),
    },
  }
}

function training({ size, config, folder, pairs }) {
  const saving = prefixSaving(pairs)
  const { goal, about } = aboutPairs(size.model, pairs, saving)
  const shared = { folder, ...pairs, lr: 1e-5 }
  const ours = (name, dtype, sharePrefixes) => ({
    ...{ name, kind: 'ours', dtype, job: 'reward' },
    options: { ...shared, dtype, batchTokens: 2048, trainer: { sharePrefixes } },
  })
  const peer = (name, dtype) => ({
    ...{ name, kind: 'today', dtype, job: 'reward' },
    options: { ...shared, style: 'eager', bf16: dtype === 'bfloat16', checkpointing: false, batch: 2 },
  })
  return {
    name: TRAIN,
    what: 'Bradley-Terry step on pairs with a common prompt',
    steps: true,
    about,
    reference: 'eager fp32',
    ...BRADLEY_TERRY_TOLERANCES,
    contestants: [
      ours('ours fp32', 'float32', true),
      ours('ours fp32, prompts twice', 'float32', false),
      ours('ours bf16', 'bfloat16', true),
      ours('ours bf16, prompts twice', 'bfloat16', false),
      peer('eager fp32', 'float32'),
      peer('eager bf16', 'bfloat16'),
    ],
    comparisons: comparisons(goal, undefined),
    limit: {
      products: trainingProducts(config, saving.once, 2 * pairs.chosen.length),
      extraFlops: 3 * attentionFlops(config, interleave(pairs), saving.shared),
    },
  }
}

function comparisons(goal, sorted) {
  return ['fp32', 'bf16'].flatMap((short) => [
    { ours: `ours ${short}`, peer: `ours ${short}, prompts twice`, saves: 'the second prompt', goal: { ratio: goal } },
    {
      ours: `ours ${short}`,
      peer: sorted ? `transformers ${short} ${sorted}` : `eager ${short}`,
      saves: 'the second prompt, padding',
    },
  ])
}
