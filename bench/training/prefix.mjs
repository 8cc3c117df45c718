// Rows behind the constant beginning of a chat template, with and without its keys and values kept from one call to the next.
// Both sides compute within a call only once what its rows have in common.
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { Random } from '../support/random.mjs'
import { tokens } from '../support/workloads.mjs'

const SIZES = {
  full: { model: 'gemma-150m-10-heads', prefixes: [16, 256], batches: [1, 16], own: 64 },
  quick: { model: 'gemma-tiny-10-heads', prefixes: [4, 16], batches: [1, 4], own: 8 },
}

export function define({ quick, say }) {
  const size = SIZES[quick ? 'quick' : 'full']
  const { vocab_size: vocabSize } = CONFIGS[size.model]
  const folder = modelFolder(size.model, { say })
  return size.prefixes.flatMap((length) =>
    size.batches.map((batch) => scoring({ size, folder, vocabSize, length, batch })),
  )
}

function scoring({ size, folder, vocabSize, length, batch }) {
  const random = new Random(61)
  const prefix = tokens(random, length, vocabSize)
  const rows = Array.from({ length: batch }, () => [...prefix, ...tokens(random, size.own, vocabSize)])
  const ours = (name, dtype, kept) => ({
    ...{ name, kind: 'ours', dtype, job: 'score' },
    options: { folder, dtype, rows, sharePrefixes: true, ...(kept && { prefix }) },
  })
  return {
    name: `training/prefix ${length} tokens, ${batch} rows`,
    what: `${batch} rows of ${size.own} tokens behind a beginning of ${length}`,
    about: { model: size.model },
    reference: 'ours fp32, computed again',
    contestants: [
      ours('ours fp32', 'float32', true),
      ours('ours fp32, computed again', 'float32', false),
      ours('ours bf16', 'bfloat16', true),
      ours('ours bf16, computed again', 'bfloat16', false),
    ],
    comparisons: ['fp32', 'bf16'].map((short) => ({
      ours: `ours ${short}`,
      peer: `ours ${short}, computed again`,
      saves: 'the constant beginning',
    })),
  }
}
