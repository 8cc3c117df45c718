// Job 3: ten heads on a frozen base. The first epoch pays for the base once, later ones not at all.
import { attentionFlops, forwardProducts } from '../support/limit.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { Random } from '../support/random.mjs'
import { prefixSaving, sharedPromptPairs } from '../support/workloads.mjs'

const HEADS = 10
const SIZES = {
  full: {
    model: 'gemma-150m-1-head',
    pairs: 32,
    lengths: { median: 180, sigma: 0.8, shortest: 30, longest: 1000 },
  },
  quick: { model: 'gemma-tiny-1-head', pairs: 8, lengths: { median: 40, sigma: 0.8, shortest: 6, longest: 120 } },
}

export function define({ quick, say }) {
  const { model, pairs, lengths } = SIZES[quick ? 'quick' : 'full']
  const config = CONFIGS[model]
  const folder = modelFolder(model, { say })
  const workload = sharedPromptPairs({ seed: 13, pairs, vocabSize: config.vocab_size, lengths, share: 0.3 })
  const random = new Random(7)
  const initial = Array.from({ length: HEADS * config.hidden_size }, () => 0.02 * random.normal())
  const shared = { folder, ...workload, heads: HEADS, initial, lr: 1e-3, batch: 8 }
  const options = { ...shared, dtype: 'float32' }
  const ours = (phase, more) => ({
    ...{ name: `ours ${phase}`, kind: 'ours', dtype: 'float32', job: 'heads', options, params: { phase }, ...more },
  })
  const peer = (name, params, more) => ({
    ...{
      name,
      kind: 'today',
      dtype: 'float32',
      job: 'heads',
      options: { ...options, forwardBatch: 8 },
      params,
      ...more,
    },
  })
  const rows = [...workload.chosen, ...workload.rejected]
  const { all, once, shared: prefixes } = prefixSaving(workload)
  const job = {
    name: 'training/heads',
    what: '10 heads on a frozen base: first epoch, later epochs',
    about: { model, pairs: `${pairs}, ${all} tokens, ${once} with each prompt once`, heads: HEADS, batch: 8 },
    reference: 'eager cached, first',
    contestants: [
      ours('forward'),
      ours('first', { like: 'ours forward', checked: false }),
      ours('later', { like: 'ours forward', checked: false, limited: false }),
      peer('eager cached, first', { phase: 'first', style: 'cached' }),
      peer('eager cached, later', { phase: 'later', style: 'cached' }, { like: 'eager cached, first', checked: false }),
      peer(
        'transformers base again',
        { phase: 'later', style: 'rerun' },
        { like: 'eager cached, first', checked: false },
      ),
    ],
    comparisons: [
      { ours: 'ours first', peer: 'ours forward', saves: 'nothing: the price of an epoch', goal: { atMost: 1.03 } },
      { ours: 'ours first', peer: 'eager cached, first', saves: 'padding, the second prompt' },
      { ours: 'ours later', peer: 'transformers base again', saves: 'the base', goal: { ratio: 100 } },
      { ours: 'ours later', peer: 'eager cached, later', saves: 'one pass over all heads', goal: { ratio: 1 } },
    ],
    limit: {
      products: forwardProducts(config, once, rows.length),
      extraFlops: attentionFlops(config, rows, prefixes),
    },
  }
  return [job]
}
