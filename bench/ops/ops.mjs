// Every kernel of native/kernels at the shapes of cases.json: ours, our plain reference, PyTorch eager and torch.compile.
import { readFileSync } from 'node:fs'
import { headProducts } from '../support/limit.mjs'

const CASES = JSON.parse(readFileSync(new URL('./cases.json', import.meta.url), 'utf8'))
const SHORT = { float32: 'fp32', bfloat16: 'bf16' }

/** Ours against PyTorch eager in the same dtype: fp32 sums in another order; bf16 that both round, at different places. */
const TOLERANCES = { float32: 2e-4, bfloat16: 0.05 }

/** Goals against eager, and for what is bound by memory the share of the copy bandwidth. */
const GOALS = {
  variance_kl_advantage: { ratio: 10 },
  ppo_loss: { ratio: 5 },
  token_logprob: { ratio: 1, above: 0.1 },
  rms_norm: { ofLimit: 0.7 },
  rotary: { ofLimit: 0.7 },
  geglu: { ofLimit: 0.7 },
  adamw: { ofLimit: 0.7 },
}

/** torch.compile makes nothing of an optimiser's own fused step, of a draw or of one library call. */
const NOT_COMPILED = new Set(['adamw', 'sample', 'cached_attention', 'packed_attention'])

export const keepsSides = true

export function define({ quick, words = [] }) {
  const jobs = CASES[quick ? 'quick' : 'full'].flatMap((entry) =>
    entry.dtypes.flatMap((dtype) => entry.passes.map((pass) => jobOf(entry, dtype, pass))),
  )
  const named = jobs.filter(({ name }) => words.some((word) => name.includes(word)))
  return named.length > 0 ? named : jobs
}

function jobOf(entry, dtype, pass) {
  const { dtypes, passes, ...sizes } = entry
  const spec = { ...sizes, dtype }
  const short = SHORT[dtype]
  const side = (name, kind, implementation) => ({
    name: `${name} ${short}`,
    ...{ keepAs: name, kind, dtype, job: 'op', options: { case: spec, implementation, pass } },
  })
  const peers = [side('reference', 'native', 'reference'), side('eager', 'today', 'eager')]
  if (!NOT_COMPILED.has(entry.op)) peers.push(side('torch.compile', 'today', 'compile'))
  const { op, ...shape } = sizes
  return {
    name: `ops/${op} ${pass}`,
    what: `${op}, ${pass}`,
    about: Object.fromEntries(Object.entries(shape).map(([name, value]) => [name, [value].flat().join(', ')])),
    reference: `eager ${short}`,
    tolerances: TOLERANCES,
    contestants: [side('ours', 'native', 'ours'), ...peers],
    comparisons: peers.map(({ name }) => ({
      ours: `ours ${short}`,
      peer: name,
      ...(name.startsWith('eager') ? { goal: GOALS[op] } : {}),
    })),
    limit: op === 'token_logprob' ? { products: headLimit(entry) } : { copyOf: `ours ${short}` },
  }
}

/** Logits, and the gradients of hidden states and weights. */
function headLimit({ tokens, hidden, vocab }) {
  const [{ m, n, k, count }] = headProducts({ hidden_size: hidden, vocab_size: vocab }, tokens)
  return [
    { m, n, k, count },
    { m, n: k, k: n, count },
    { m: n, n: k, k: m, count },
  ]
}
