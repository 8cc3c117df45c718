// One stage of the paper's pipeline on a model of any size, in a process of its own, so that its peak of resident memory is known.
//   node scripts/full-size/stage.mjs load|score|features|step MODEL_FOLDER [TOKENS] [STATE_FOLDER]
// Prints one JSON object. What is touched: the weights (mapped), as the commands do it, through the same native calls.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { predictedBytes, stateFileBytes } from './predicted.mjs'

const [stage, folder, tokens = '512', stateFolder] = process.argv.slice(2)
const { loadAddon } = await import(new URL('../../dist/ts/addon/load.js', import.meta.url).href)
const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
const addon = loadAddon()

/** [current, most] resident bytes of this process; file pages that it maps count. */
function resident() {
  const status = readFileSync('/proc/self/status', 'utf8')
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1])
  return { now: kib('VmRSS') * 1024, most: kib('VmHWM') * 1024, own: kib('RssAnon') * 1024 }
}

/** `pairs` of `length` tokens each, different in every place. */
function rows(count, length, shift) {
  const ids = Int32Array.from(
    { length: count * length },
    (_, index) => 3 + ((index * 7919 + shift * 104729) % (config.vocab_size - 3)),
  )
  return { ids, lengths: new Int32Array(count).fill(length) }
}

async function timed(body) {
  const begun = performance.now()
  const result = await body()
  return [result, (performance.now() - begun) / 1000]
}

const budget = Number(tokens)
const length = Math.max(2, Math.min(128, budget >> 1))
const count = Math.max(1, Math.floor(budget / length))
const options = { task: 'sequence-classification', dtype: 'bfloat16', device: 'cpu' }
const [model, loadSeconds] = await timed(() =>
  addon.loadModel(folder, { ...options, allowNewHead: true, numLabels: 1, seed: 1 }),
)
/** Forwards of the stage, each of other tokens. */
const FORWARDS = { score: 3, features: 2 }
const different = (FORWARDS[stage] ?? 1) * count * length
const report = {
  stage,
  tokens: count * length,
  loadSeconds,
  predicted: predictedBytes(config, { stage, tokens: budget, rows: different }),
}

if (stage === 'score') {
  const [scores, seconds] = await timed(() =>
    model.score(rows(FORWARDS.score * count, length, 1), { batchTokens: budget, sharePrefixes: false }),
  )
  Object.assign(report, { seconds, finite: scores.every(Number.isFinite), distinct: new Set(scores).size })
} else if (stage === 'features') {
  const [features, seconds] = await timed(() =>
    model.cacheFeatures(rows(FORWARDS.features * count, length, 1), { batchTokens: budget, sharePrefixes: false }),
  )
  const heads = 10
  const initial = Float32Array.from({ length: heads * config.hidden_size }, (_, index) => 0.02 * Math.sin(index))
  const trainer = await addon.createHeadsTrainer(features, { heads, initial, maxGradNorm: 1 })
  const side = (first) => Int32Array.from({ length: count }, (_, pair) => first + pair)
  const losses = []
  for (let step = 0; step < 20; step++) {
    const { lossPerHead } = await trainer.step(side(0), side(count), { lr: 1e-3, perHead: false })
    losses.push(lossPerHead.reduce((sum, loss) => sum + loss, 0) / heads)
  }
  Object.assign(report, { seconds, losses: [losses[0], losses.at(-1)] })
} else if (stage === 'step') {
  const trainer = await addon.createRewardTrainer(model, {
    ...{ batchTokens: budget, activationCheckpointing: true, updateInBackward: true, maxGradNorm: 0 },
    ...(stateFolder && { stateFolder }),
  })
  const pairs = Math.max(1, count >> 1)
  const steps = []
  for (let step = 0; step < 2; step++) {
    const [result, seconds] = await timed(() =>
      trainer.step(rows(pairs, length, 1), rows(pairs, length, 2), { lr: 1e-5 }),
    )
    steps.push({ seconds, loss: result.loss, gradNorm: result.gradNorm })
  }
  Object.assign(report, { steps, stateFile: stateFolder ? stateFileBytes(config) : 0 })
}
const { most, own } = resident()
process.stdout.write(`${JSON.stringify({ ...report, peak: most, own })}\n`)
