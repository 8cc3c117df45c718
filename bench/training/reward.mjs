// Job 4: full fine-tune Bradley-Terry steps, on ragged pairs and on pairs of one length.
import { BRADLEY_TERRY_TOLERANCES } from '../support/equal.mjs'
import { attentionFlops, trainingProducts } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { equalPairs, sharedPromptPairs, totalTokens } from '../support/workloads.mjs'

const PARTS = ['ragged', 'equal']
const LENGTHS = { median: 180, sigma: 0.8, shortest: 30, longest: 1000 }
const SIZES = {
  full: { model: 'gemma-150m-1-head', pairs: 8, lengths: LENGTHS, length: 256 },
  quick: {
    model: 'gemma-tiny-1-head',
    pairs: 4,
    lengths: { median: 30, sigma: 0.8, shortest: 4, longest: 100 },
    length: 24,
  },
}

/** As in the peers. Pairs here share 30 % of their tokens; the price of sharing is job 2's. */
const OURS = { activationCheckpointing: true, sharePrefixes: false }

export function jobNames() {
  return PARTS.map(nameOf)
}

export function define(context) {
  return PARTS.map((part) => definePart(part, context))
}

function nameOf(part) {
  return `training/reward-${part}`
}

function definePart(part, { quick, say }) {
  const { model, pairs, lengths, length } = SIZES[quick ? 'quick' : 'full']
  const config = CONFIGS[model]
  const folder = modelFolder(model, { say })
  const vocabSize = config.vocab_size
  const ragged = part === 'ragged'
  const workload = ragged
    ? sharedPromptPairs({ seed: 17, pairs, vocabSize, lengths, share: 0.3 })
    : equalPairs({ seed: 19, pairs, vocabSize, length })
  const shared = { folder, ...workload, lr: 1e-5 }
  const ours = (name, dtype) => ({
    ...{ name, kind: 'ours', dtype, job: 'reward' },
    options: { ...shared, dtype, batchTokens: quick ? 256 : 2048, trainer: OURS },
  })
  const peer = (name, dtype, style) => ({
    ...{ name, kind: 'today', dtype, job: 'reward' },
    options: {
      ...shared,
      style,
      bf16: dtype === 'bfloat16',
      checkpointing: true,
      batch: style === 'trl' ? pairs : pairs / 4,
    },
  })
  const rows = [...workload.chosen, ...workload.rejected]
  const trl = { ratio: ragged ? 1.8 : 1.2, above: 0.4 }
  const best = ragged ? { ratio: 1.3 } : undefined
  const saves = ragged ? 'padding' : 'nothing: rows of one length have no padding'
  return {
    name: nameOf(part),
    what: `full fine-tune step on ${part} pairs`,
    about: { model, pairs: `${pairs}, ${totalTokens(rows)} tokens`, 'gradient checkpointing': 'on in all' },
    steps: true,
    reference: 'eager fp32',
    ...BRADLEY_TERRY_TOLERANCES,
    contestants: [
      ours('ours fp32', 'float32'),
      ours('ours bf16', 'bfloat16'),
      peer('TRL fp32', 'float32', 'trl'),
      peer('TRL bf16', 'bfloat16', 'trl'),
      peer('eager fp32', 'float32', 'eager'),
      peer('eager bf16', 'bfloat16', 'eager'),
    ],
    comparisons: [
      { ours: 'ours fp32', peer: 'TRL fp32', saves, goal: trl },
      { ours: 'ours bf16', peer: 'TRL bf16', saves, goal: trl },
      { ours: 'ours fp32', peer: 'eager fp32', saves, goal: best },
      { ours: 'ours bf16', peer: 'eager bf16', saves, goal: best && { ...best, ofLimit: 0.85 } },
    ],
    limit: {
      products: trainingProducts(config, totalTokens(rows), rows.length),
      extraFlops: 3 * attentionFlops(config, rows),
    },
  }
}
