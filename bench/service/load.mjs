// The service under load, beside FastAPI + transformers: throughput and latency against connections, and ours against batch limits.
// Token ids go in, so that neither side tokenises; scores and their spread come out, and are compared before anything is timed.
import { join } from 'node:path'
import { findServicePeer } from '../../scripts/bench/peers.mjs'
import { root } from '../../scripts/setup/folders.mjs'
import { compareResults, TOLERANCES } from '../support/equal.mjs'
import { atEqualP99, load } from '../support/http-load.mjs'
import { HttpServer } from '../support/http-server.mjs'
import { describeCommit, describeMachine, releaseMachine, withMachine } from '../support/machine.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { mixedRows } from '../support/workloads.mjs'

const SIZES = {
  full: {
    model: 'gemma-150m-10-heads',
    rows: 256,
    seconds: 30,
    warmUp: 2,
    connections: [1, 8, 32],
    manyConnections: 32,
    lengths: { median: 120, sigma: 0.7, shortest: 16, longest: 600 },
  },
  quick: {
    ...{ model: 'gemma-tiny-10-heads', rows: 16, seconds: 1, warmUp: 1, connections: [1, 4], manyConnections: 4 },
    lengths: { median: 30, sigma: 0.7, shortest: 4, longest: 100 },
  },
}
/** Rows of a padded batch, and how long a lone request waits for company: those of ours are 8192 tokens and 2 ms. */
const PEER = { batch: 32, wait: 0.002 }
const LIMITS = [
  { fixedShapes: true },
  { maxBatchTokens: 512 },
  { maxBatchTokens: 2048 },
  { maxBatchTokens: 8192 },
  { int8: true },
]
const GOAL = 2

export async function run({ quick, threads, peers, say, only }) {
  const size = SIZES[quick ? 'quick' : 'full']
  const machine = describeMachine()
  // The dtype in which the peer is faster: without bf16 arithmetic its bf16 is a fraction of its fp32.
  const dtype = machine.features.some((feature) => feature.endsWith('bf16')) ? 'bfloat16' : 'float32'
  const folder = modelFolder(size.model, { dtype, say })
  const { vocab_size: vocabSize } = CONFIGS[size.model]
  const rows = mixedRows({ seed: 71, rows: size.rows, vocabSize, lengths: size.lengths })
  const bodies = rows.map((row) => JSON.stringify({ input: [row] }))
  const stamp = { date: new Date().toISOString(), quick, threads, machine, ...describeCommit() }
  const about = {
    model: `${size.model}, ${dtype}`,
    texts: `${size.rows}, log-normal lengths with median ${size.lengths.median}, longest ${size.lengths.longest}`,
  }
  const row = (name, values) => ({ job: 'service/load', row: name, ...stamp, about, ...values })
  const ours = ({ int8 = false, ...settings } = {}) => oursAs({ folder, dtype, int8, threads, settings })
  const peer = await peerAs({ folder, dtype, threads, ...PEER }, peers.today, say)

  try {
    return await measure({ ours, peer, dtype, bodies, size, row, say, only })
  } finally {
    await releaseMachine()
  }
}

async function measure({ ours, peer, dtype, bodies, size, row, say, only }) {
  const measured = []
  const problems = []
  if (only.length === 0 || only.some((word) => 'connections'.includes(word))) {
    const sides = [ours(), ...(peer ? [peer] : [])]
    const curves = await curvesOf(sides, bodies, { ...size, tolerances: TOLERANCES[dtype], problems, say })
    if (problems.length > 0) return { rows: [], problems }
    const [own, other] = curves
    measured.push(row('ours', own))
    if (other) {
      const equal = atEqualP99(own.points, other.points)
      measured.push(row('transformers', other), row('ours / transformers', { equal, goal: { ratio: GOAL } }))
      say(
        `at a p99 of ${(1000 * equal.peer.p99).toFixed(0)} ms: ${equal.ratio.toFixed(2)} times the requests of FastAPI + transformers`,
      )
    }
  }
  if (only.length === 0 || only.some((word) => 'limits'.includes(word))) {
    for (const limits of LIMITS) {
      const name = nameOf(limits)
      const { points, peakBytes } = await pointsOf(name, ours(limits), bodies, { ...size, say })
      measured.push(row(`limit: ${name}`, { points, peakBytes, limits }))
    }
  }
  return { rows: measured, problems }
}

function nameOf({ fixedShapes, int8, maxBatchTokens }) {
  if (fixedShapes) return 'no two requests share a forward'
  return int8 ? '8192 tokens, products in int8' : `${maxBatchTokens} tokens`
}

function oursAs(options) {
  const args = [join(root, 'bench', 'service', 'server.mjs'), JSON.stringify(options)]
  return { name: 'ours', command: process.execPath, args }
}

async function peerAs(options, today, say) {
  const found = today?.python ? await findServicePeer(today) : { missing: today?.missing ?? 'no Python' }
  if (found.missing) {
    say(`NO PEER service: ${found.missing}`)
    return undefined
  }
  const args = [join(root, 'bench', 'peers', 'service.py'), JSON.stringify(options)]
  const offline = { HF_HUB_OFFLINE: '1', TRANSFORMERS_VERBOSITY: 'error', OMP_NUM_THREADS: String(options.threads) }
  return { name: 'transformers', command: found.python, args, env: { ...offline, ...found.env } }
}

/** Both servers stand; each number of connections is measured on one, then on the other. */
async function curvesOf(sides, bodies, { connections, seconds, warmUp, tolerances, problems, say }) {
  const servers = sides.map((side) => new HttpServer(side))
  try {
    await withMachine(async () => {
      for (const server of servers) await server.start()
      const [own, ...others] = await Promise.all(servers.map((server) => scoresOf(server.url, bodies)))
      for (const scores of others) {
        const { problems: found } = compareResults({ scores: own }, { scores }, tolerances)
        problems.push(...found.map((problem) => `service/load: ${problem}`))
      }
      for (const server of servers) await pointOf(server, bodies, { connections: 8, seconds: warmUp })
    })
    if (problems.length > 0) return []
    const points = servers.map(() => [])
    for (const count of connections) {
      for (const [at, server] of servers.entries()) {
        const point = await withMachine(() => pointOf(server, bodies, { connections: count, seconds }))
        points[at].push(point)
        tell(say, server.name, point)
      }
    }
    return servers.map(({ peakBytes }, at) => ({ points: points[at], peakBytes }))
  } finally {
    for (const server of servers) await server.stop()
  }
}

async function pointOf(server, bodies, options) {
  const point = await load(server, bodies, options)
  await server.idle()
  return point
}

async function pointsOf(name, side, bodies, { manyConnections: connections, seconds, warmUp, say }) {
  const server = new HttpServer(side)
  try {
    const points = []
    await withMachine(async () => {
      await server.start()
      await pointOf(server, bodies, { connections: 8, seconds: warmUp })
      points.push(await load(server, bodies, { connections, seconds }))
      tell(say, name, points[0])
    })
    return { points, peakBytes: server.peakBytes }
  } finally {
    await server.stop()
  }
}

function tell(say, name, { connections, requestsPerSecond, p50, p99, othersBusy }) {
  const [rate, middle, tail] = [requestsPerSecond.toFixed(1), (1000 * p50).toFixed(0), (1000 * p99).toFixed(0)]
  say(
    `${name}: ${connections} connections, ${rate} requests/s, p50 ${middle} ms, p99 ${tail} ms, others ${othersBusy.toFixed(2)}`,
  )
}

/** Scores of every head of the first texts, one request each. */
async function scoresOf(url, bodies) {
  const scores = []
  for (const body of bodies.slice(0, 16)) {
    const answer = await fetch(`${url}/pooling`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
    scores.push(...(await answer.json()).data[0].uncertainty.heads)
  }
  return scores
}
