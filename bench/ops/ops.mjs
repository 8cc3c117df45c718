// Every kernel of native/kernels at the shapes of cases.json: ours, our plain reference, PyTorch eager and torch.compile.
import { readFileSync } from 'node:fs'
import { BF16_TRUTH } from '../support/equal.mjs'
import { withBackward } from '../support/limit.mjs'

const CASES = JSON.parse(readFileSync(new URL('./cases.json', import.meta.url), 'utf8'))
const SHORT = { float32: 'fp32', bfloat16: 'bf16' }

/** Against PyTorch eager: the same fp32 sums in another order. What is in bf16 is held against fp32 (BF16_TRUTH). */
const TOLERANCES = { float32: 2e-4 }

/** Goals against eager, and for what is bound by memory the share of the copy bandwidth. */
const GOALS = {
  variance_kl_advantage: { ratio: 10 },
  ppo_loss: { ratio: 5 },
  token_logprob: { ratio: 1, above: 0.1 },
  rms_norm: { ofLimit: 0.7 },
  layer_norm: { ofLimit: 0.7 },
  rotary: { ofLimit: 0.7 },
  geglu: { ofLimit: 0.7 },
  activation_backward: { ofLimit: 0.7 },
  adamw: { ofLimit: 0.7 },
  global_norm: { ofLimit: 0.7 },
}

/** torch.compile makes nothing of an optimiser's own fused step, of a draw or of one library call. */
const NOT_COMPILED = new Set(['adamw', 'sample', 'cached_attention', 'packed_attention'])

export const keepsSides = true

export function jobNames({ quick }) {
  return [...new Set(casesOf(quick).flatMap(({ op, passes }) => passes.map((pass) => nameOf(op, pass))))]
}

export function define({ quick }) {
  return casesOf(quick).flatMap((entry) =>
    entry.dtypes.flatMap((dtype) => entry.passes.map((pass) => jobOf(entry, dtype, pass))),
  )
}

function casesOf(quick) {
  return CASES[quick ? 'quick' : 'full']
}

function nameOf(op, pass) {
  return `ops/${op} ${pass}`
}

function jobOf(entry, dtype, pass) {
  const { dtypes, passes, ...sizes } = entry
  const spec = { ...sizes, dtype }
  const short = SHORT[dtype]
  // What is held to a memory goal has processes of its own: one that has done other operations keeps some of their memory.
  const keptAs = (name) => (GOALS[entry.op]?.above === undefined ? name : `${name} ${entry.op} ${short}`)
  const side = (name, kind, implementation) => ({
    name: `${name} ${short}`,
    ...{ keepAs: keptAs(name), kind, dtype, job: 'op', options: { case: spec, implementation, pass } },
  })
  const peers = [side('reference', 'native', 'reference'), side('eager', 'today', 'eager')]
  if (!NOT_COMPILED.has(entry.op)) peers.push({ ...side('torch.compile', 'today', 'compile'), optional: true })
  const truth = dtype === 'bfloat16' ? [{ ...side('truth', 'native', 'truth'), timed: false }] : []
  const { op, ...shape } = sizes
  return {
    name: nameOf(op, pass),
    what: `${op}, ${pass}`,
    about: Object.fromEntries(Object.entries(shape).map(([name, value]) => [name, [value].flat().join(', ')])),
    reference: `eager ${short}`,
    tolerances: TOLERANCES,
    ...(dtype === 'bfloat16'
      ? { truths: { bfloat16: { reference: 'truth bf16', yardstick: 'eager bf16', ...BF16_TRUTH } } }
      : {}),
    contestants: [side('ours', 'native', 'ours'), ...peers, ...truth],
    comparisons: peers.map(({ name }) => ({
      ours: `ours ${short}`,
      peer: name,
      ...(name.startsWith('eager') ? { goal: GOALS[op] } : {}),
    })),
    limit: PRODUCTS[op] ? { products: productsOf(entry, pass) } : { copyOf: `ours ${short}` },
  }
}

/** Matrix products of one forward as [rows, outputs, inputs]. */
const PRODUCTS = {
  matmul: ({ tokens, out, in: depth }) => [tokens, out, depth],
  linear: ({ tokens, out, in: depth }) => [tokens, out, depth],
  gated_linear: ({ tokens, intermediate, in: depth }) => [tokens, 2 * intermediate, depth],
  token_logprob: ({ tokens, hidden, vocab }) => [tokens, vocab, hidden],
}

function productsOf(entry, pass) {
  const [m, n, k] = PRODUCTS[entry.op](entry)
  const forward = [{ m, n, k, count: 1 }]
  return pass === 'forward' ? forward : withBackward(forward)
}
