// Many policies, one scorer: 16 laptop policies at once with a shared scorer, against the same 16 in a row; and what fixed batch shapes,
// which make whole runs bit-identical whatever was batched with them, cost.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { root } from '../../scripts/setup/folders.mjs'
import { describeCommit, describeMachine, releaseMachine, withMachine } from '../support/machine.mjs'
import { speedRatio, spread } from '../support/statistics.mjs'

const SIZES = { full: { policies: 16, steps: 10 }, quick: { policies: 2, steps: 1 } }
const IN_A_ROW = 'in a row, all threads each'
const SHARED = 'all at once, shared scorer'
const FIXED = 'all at once, shared scorer, fixed shapes'
const COMPARISONS = [
  { ours: SHARED, peer: IN_A_ROW, saves: 'cores that a small model leaves idle', goal: { atMost: 0.8 } },
  { ours: FIXED, peer: IN_A_ROW, saves: 'the same; runs are bit-identical', goal: { atMost: 1 } },
  { ours: FIXED, peer: SHARED, saves: 'nothing: the cost of fixed shapes' },
]

export async function run({ quick, rounds, threads, say }) {
  const { policies, steps } = SIZES[quick ? 'quick' : 'full']
  const options = { policies, steps, repeats: rounds }
  const measured = await measure(options)
  for (const { way, seconds } of measured.rows) say(`${way}: ${seconds.median.toFixed(2)} s`)
  const common = {
    ...{ date: new Date().toISOString(), job: 'training/concurrent-policies', quick, threads },
    about: { policies, 'steps of each': steps, models: "configs/laptop.yaml's, fp32" },
    ...describeCommit(),
    machine: describeMachine(),
  }
  const requests = measured.shortRequests.map((one) => ({ ...one, way: `${one.requests} texts, ${one.way}` }))
  const timed = new Map([...measured.rows, ...requests].map((one) => [one.way, summary(one)]))
  return {
    rows: [...COMPARISONS, ofRequests(requests)].map((one) => rowOf(one, timed, common)),
    problems: check(measured),
  }
}

async function measure(options) {
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  try {
    const { stdout } = await withMachine(() =>
      promisify(execFile)(process.execPath, ['bench/ours/concurrent-policies.mjs', ...flags], { cwd: root }),
    )
    return JSON.parse(stdout)
  } finally {
    await releaseMachine()
  }
}

function summary({ way, seconds }) {
  return { name: `ours, ${way}`, ...spread(seconds.all), samples: seconds.all, othersBusy: 0, versions: {} }
}

function ofRequests(requests) {
  const [shared, fixed] = requests.map(({ way }) => way)
  return { ours: fixed, peer: shared, saves: 'nothing: the cost of fixed shapes where one text is a request' }
}

function rowOf({ ours, peer, saves, goal }, timed, common) {
  const [a, b] = [timed.get(ours), timed.get(peer)]
  return {
    ...{ ...common, row: `${ours} / ${peer}`, saves, goal, ours: a, peer: b },
    ratio: speedRatio(a.samples, b.samples),
  }
}

/** Whole runs with fixed shapes end in the same weights every time; those of one policy after the other do so anyway. */
function check({ rows }) {
  return rows
    .filter(({ way, weights }) => [FIXED, IN_A_ROW].includes(way) && weights.length !== 1)
    .map(
      ({ way, weights }) =>
        `concurrent-policies: ${way}: ${weights.length} different sets of weights from the same seeds`,
    )
}
