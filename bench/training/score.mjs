// Job 1: scores of mixed-length texts with a Gemma-shaped reward model of 150M parameters and 10 heads.
import { attentionFlops, forwardProducts } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { mixedRows, totalTokens } from '../support/workloads.mjs'

/** RewardBench's and the Hugging Face Trainer's default. */
const PEER_BATCH = 8
const SIZES = {
  full: { model: 'gemma-150m-10-heads', rows: 64, lengths: { median: 180, sigma: 0.8, shortest: 30, longest: 1000 } },
  quick: { model: 'gemma-tiny-10-heads', rows: 12, lengths: { median: 40, sigma: 0.8, shortest: 4, longest: 200 } },
}

export function define({ quick, say }) {
  const { model, rows: count, lengths } = SIZES[quick ? 'quick' : 'full']
  const config = CONFIGS[model]
  const folder = modelFolder(model, { say })
  const rows = mixedRows({ seed: 11, rows: count, vocabSize: config.vocab_size, lengths })
  const ours = (name, dtype, how = {}) => ({
    ...{ name, kind: 'ours', dtype, job: 'score' },
    options: { folder, dtype, rows, ...how },
  })
  const peer = (name, dtype, order, like) => ({
    ...{ name, kind: 'today', dtype, job: 'score', like, params: { order } },
    options: { folder, dtype, rows, batch: PEER_BATCH },
  })
  const padding = 'padding'
  const job = {
    name: 'training/score',
    what: 'mixed-length texts, one reward model, 10 heads',
    about: {
      model,
      rows: `${count}, log-normal lengths with median ${lengths.median}, ${totalTokens(rows)} tokens`,
      'batch of the peer': PEER_BATCH,
    },
    reference: 'transformers fp32 sorted',
    contestants: [
      ours('ours fp32', 'float32'),
      ours('ours bf16', 'bfloat16'),
      { ...ours('ours int8', 'bfloat16', { int8: true }), limited: false },
      peer('transformers fp32', 'float32', 'arrival'),
      peer('transformers bf16', 'bfloat16', 'arrival'),
      peer('transformers fp32 sorted', 'float32', 'sorted', 'transformers fp32'),
      peer('transformers bf16 sorted', 'bfloat16', 'sorted', 'transformers bf16'),
    ],
    comparisons: [
      { ours: 'ours fp32', peer: 'transformers fp32', saves: padding, goal: { ratio: 2.5 } },
      { ours: 'ours bf16', peer: 'transformers bf16', saves: padding, goal: { ratio: 2.5, ofLimit: 0.85 } },
      { ours: 'ours fp32', peer: 'transformers fp32 sorted', saves: padding, goal: { ratio: 1.3 } },
      { ours: 'ours bf16', peer: 'transformers bf16 sorted', saves: padding, goal: { ratio: 1.3 } },
      { ours: 'ours bf16', peer: 'transformers fp32', saves: `${padding}, half of the bits`, goal: { ratio: 6 } },
      { ours: 'ours int8', peer: 'ours bf16', saves: 'three quarters of the bits of products', goal: { ratio: 1.5 } },
    ],
    limit: {
      products: forwardProducts(config, totalTokens(rows), rows.length),
      extraFlops: attentionFlops(config, rows),
    },
  }
  return [job]
}
