// Job 9: what an answer costs as the work grows: sequence length, batch, heads, concurrent policies. Ours alone; curves, not rows.
import { describeCommit, describeMachine, releaseMachine, withMachine } from '../support/machine.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { Random } from '../support/random.mjs'
import { startSide } from '../support/sides.mjs'
import { median } from '../support/statistics.mjs'
import { prompts, tokens } from '../support/workloads.mjs'

const SIZES = {
  full: {
    gemma: 'gemma-150m-10-heads',
    gpt2: 'gpt2-tiny',
    lengths: [16, 64, 256, 1024, 4096],
    batches: [1, 2, 4, 8, 16, 32, 64],
    heads: [1, 2, 5, 10, 20, 50, 100],
    policies: [1, 2, 4, 8, 16],
    lengthTokens: 4096,
    batchLength: 128,
    pairs: 256,
  },
  quick: {
    gemma: 'gemma-tiny-10-heads',
    gpt2: 'gpt2-tiny',
    lengths: [4, 16],
    batches: [1, 4],
    heads: [1, 3],
    policies: [1, 2],
    lengthTokens: 64,
    batchLength: 16,
    pairs: 16,
  },
}

export async function run(environment) {
  const size = SIZES[environment.quick ? 'quick' : 'full']
  const points = []
  const measure = async (curve, series, x, job, options, toY) => {
    const y = toY(await medianSeconds(environment, job, options))
    environment.say(`curve ${curve.name}, ${series}, ${x}: ${y.toPrecision(4)}`)
    points.push({ ...curve, series, x, y })
  }
  for (const dtype of ['float32', 'bfloat16']) await scoreCurves(size, dtype, environment, measure)
  await headCurve(size, measure)
  await policyCurve(size, measure, environment)
  return { rows: points.map((curve) => rowOf(curve, environment)), problems: [] }
}

/** A fresh process a point, so that none inherits another's memory. */
async function medianSeconds(environment, job, options) {
  const { side } = await startSide('ours', job, environment)
  try {
    await withMachine(() => side.call('load', { job, options }))
    await withMachine(() => side.call('run'))
    const seconds = []
    for (let round = 0; round < environment.rounds; round++)
      seconds.push((await withMachine(() => side.call('run'))).seconds)
    return median(seconds)
  } finally {
    await releaseMachine()
    await side.stop()
  }
}

async function scoreCurves(size, dtype, { say }, measure) {
  const folder = modelFolder(size.gemma, { say })
  const vocab = CONFIGS[size.gemma].vocab_size
  const rowsOf = (count, length) => {
    const random = new Random(51)
    return Array.from({ length: count }, () => tokens(random, length, vocab))
  }
  const byLength = {
    name: 'length',
    title: 'Scoring: equally many tokens in longer rows',
    xTitle: 'tokens of a row',
    yTitle: 'µs per token',
  }
  for (const length of size.lengths) {
    const count = Math.max(1, Math.round(size.lengthTokens / length))
    const options = { folder, dtype, rows: rowsOf(count, length) }
    await measure(byLength, dtype, length, 'score', options, (seconds) => (1e6 * seconds) / (count * length))
  }
  const byBatch = {
    name: 'batch',
    title: `Scoring: rows of ${size.batchLength} tokens`,
    xTitle: 'rows of a call',
    yTitle: 'ms per row',
  }
  for (const count of size.batches) {
    const options = { folder, dtype, rows: rowsOf(count, size.batchLength) }
    await measure(byBatch, dtype, count, 'score', options, (seconds) => (1e3 * seconds) / count)
  }
}

async function headCurve(size, measure) {
  const curve = { name: 'heads', title: 'Heads on cached features', xTitle: 'heads', yTitle: 'ms per epoch' }
  for (const heads of size.heads) {
    const options = { heads, pairs: size.pairs, hidden: 768, batch: 64 }
    await measure(curve, 'training epoch', heads, 'head_epochs', options, (seconds) => 1e3 * seconds)
  }
}

async function policyCurve(size, measure, { say }) {
  const folder = modelFolder(size.gpt2, { say })
  const given = prompts({ seed: 53, rows: 32, vocabSize: CONFIGS[size.gpt2].vocab_size, shortest: 2, longest: 8 })
  const curve = {
    name: 'policies',
    title: 'PPO steps of small policies in one process',
    xTitle: 'policies',
    yTitle: 'ms per policy and step',
  }
  for (const policies of size.policies) {
    for (const [series, together] of [
      ['one after another', false],
      ['together', true],
    ]) {
      const options = { folder, prompts: given, policies, together, newTokens: 10 }
      await measure(curve, series, policies, 'policies', options, (seconds) => (1e3 * seconds) / policies)
    }
  }
}

function rowOf(curve, { quick, threads }) {
  const row = `${curve.series} ${curve.x}`
  const where = { ...describeCommit(), machine: describeMachine() }
  return { date: new Date().toISOString(), job: `curves/${curve.name}`, row, quick, threads, ...where, curve }
}
