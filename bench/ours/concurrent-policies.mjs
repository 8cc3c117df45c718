// Many policies, one scorer: seconds of N laptop policies one after the other with all threads for each, the way the study ran them before it
// had a shared scorer, and N at once on one lane a core with one scorer for all. One JSON object on standard output.
//
//   node bench/ours/concurrent-policies.mjs [--policies 16] [--steps 10] [--repeats 3]
import { createHash } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { loadAddon } from '../../dist/ts/addon/load.js'
import { ScoreBatcher } from '../../dist/ts/addon/score-batcher.js'
import { systemInfo } from '../../dist/ts/addon/system.js'
import { loadConfig } from '../../dist/ts/config/load.js'
import { Tokenizer } from '../../dist/ts/data/tokenizer.js'
import { loadPrompts } from '../../dist/ts/policy/prompts.js'
import { modelScorer } from '../../dist/ts/policy/scorer.js'
import { objectiveSettings } from '../../dist/ts/policy/settings.js'
import { trainPolicy } from '../../dist/ts/policy/train-policy.js'
import { studyConfigSchema } from '../../dist/ts/study/config.js'
import { architectureOf } from '../../dist/ts/study/models.js'
import { runPool } from '../../dist/ts/study/pool.js'

const { values: given } = parseArgs({
  options: {
    policies: { type: 'string', default: '16' },
    steps: { type: 'string', default: '10' },
    repeats: { type: 'string', default: '3' },
  },
})
const [count, steps, repeats] = [Number(given.policies), Number(given.steps), Number(given.repeats)]

const addon = loadAddon()
const { cores } = systemInfo().cpu
const config = await loadConfig(studyConfigSchema, 'configs/laptop.yaml')
const tokenizers = {
  policy: await Tokenizer.load(config.models.policy.tokenizer.path),
  scorer: await Tokenizer.load(config.models.scorer.tokenizer.path),
}
const { prompts } = await loadPrompts(
  { ...config.prompts, source: config.data.reviews, column: 'text', seed: 0 },
  tokenizers.policy,
)
const heads = config.layout.ensembles * config.layout.heads

/** Random weights of the study's shapes: training is as fast on them as on trained ones. */
const createModel = (name, more) =>
  addon.createModel(architectureOf(config.models[name], tokenizers[name]), {
    dtype: 'float32',
    device: 'cpu',
    seed: 1,
    ...more,
  })
const reference = await createModel('policy', { task: 'causal-lm' })
const rewards = await createModel('scorer', { task: 'sequence-classification', allowNewHead: true, numLabels: heads })

const scorerOver = (batching) =>
  modelScorer({
    model: rewards,
    policyTokenizer: tokenizers.policy,
    scorerTokenizer: tokenizers.scorer,
    maxLength: config.data.maxLength,
    batchTokens: config.evaluation.batchTokens,
    ...(batching && {
      batcher: new ScoreBatcher(rewards, { maxBatchTokens: config.evaluation.batchTokens, ...batching }),
    }),
  })

/** Trains one policy; -> hash of its weights. */
async function train(scorer, number) {
  const policy = await reference.clone()
  await policy.addValueHead(number)
  const ensemble = Math.floor((number % heads) / config.layout.heads) * config.layout.heads
  const result = await trainPolicy({
    ...{ policy, reference, scorer, prompts, eosTokenIds: [tokenizers.policy.eosTokenId] },
    settings: { ...config.ppo, steps, seed: number, objective },
    head: number % heads,
    ensemble: Array.from({ length: config.layout.heads }, (_, head) => ensemble + head),
  })
  const folder = join(tmpdir(), `prudent-bench-${process.pid}-${number}`)
  await policy.save(folder)
  await policy.dispose()
  const hash = createHash('sha256')
    .update(await readFile(join(folder, 'model.safetensors')))
    .digest('hex')
    .slice(0, 16)
  await rm(folder, { recursive: true })
  return { hash, steps: result.steps }
}
const objective = objectiveSettings.parse({ kind: 'variance-kl' })

const perLane = { lanes: cores, threadsPerLane: 1 }
const WAYS = {
  'in a row, all threads each': { shape: { lanes: 1, threadsPerLane: cores }, width: 1 },
  'in a row, one thread': { shape: perLane, width: 1 },
  'lanes + 2 at once, no shared scorer': { shape: perLane, width: cores + 2 },
  'all at once, shared scorer': { shape: perLane, width: count, batching: {} },
  'all at once, shared scorer, fixed shapes': { shape: perLane, width: count, batching: { fixedShapes: true } },
}

async function run({ shape, width, batching }) {
  addon.configureExecutor(shape)
  const scorer = scorerOver(batching)
  const tasks = Array.from({ length: count }, (_, number) => () => train(scorer, number))
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  const trained = await runPool(tasks, width)
  const used = process.cpuUsage(cpu)
  return {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (used.user + used.system) / 1e6,
    weights: createHash('sha256')
      .update(trained.map(({ hash }) => hash).join())
      .digest('hex')
      .slice(0, 16),
  }
}

const runs = Object.fromEntries(Object.keys(WAYS).map((name) => [name, []]))
await run(WAYS['all at once, shared scorer']) // warm-up: allocator, JIT, tokenizers
for (let repeat = 0; repeat < repeats; repeat++)
  for (const [name, way] of Object.entries(WAYS)) runs[name].push(await run(way))

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const base = median(runs['in a row, all threads each'].map(({ seconds }) => seconds))
const rows = Object.entries(runs).map(([way, list]) => {
  const seconds = list.map((entry) => entry.seconds)
  return {
    way,
    seconds: { median: median(seconds), all: seconds },
    cpuSeconds: median(list.map((entry) => entry.cpuSeconds)),
    ofInARow: median(seconds) / base,
    weights: [...new Set(list.map((entry) => entry.weights))],
  }
})

/** Seconds to answer many requests of one text each, all there at once: where sharing forwards matters most. */
async function shortRequests(batching) {
  const texts = prompts.texts.slice(0, 512)
  const rows = await tokenizers.scorer.encodeBatch(texts)
  const batcher = new ScoreBatcher(rewards, { maxBatchTokens: 4096, ...batching })
  const start = performance.now()
  await Promise.all(rows.map((row) => batcher.scoreValues({ ids: [row] })))
  return { seconds: (performance.now() - start) / 1000, forwards: batcher.statistics.forwards }
}

const short = { shared: [], fixedShapes: [] }
for (let repeat = 0; repeat < repeats + 1; repeat++) {
  short.shared.push(await shortRequests({}))
  short.fixedShapes.push(await shortRequests({ fixedShapes: true }))
}
const shortRows = Object.entries(short).map(([way, list]) => ({
  way,
  requests: 512,
  forwards: list[0].forwards,
  seconds: {
    median: median(list.slice(1).map(({ seconds }) => seconds)),
    all: list.slice(1).map(({ seconds }) => seconds),
  },
}))

const result = { job: 'concurrent-policies', policies: count, steps, cores, rows, shortRequests: shortRows }
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
await Promise.all([reference.dispose(), rewards.dispose()])
