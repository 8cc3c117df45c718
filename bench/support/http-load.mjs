// Closed-loop load on an HTTP server: so many connections, each of which asks again as soon as it is answered.
import autocannon from 'autocannon'
import { busyTicks, TICKS_PER_SECOND } from './machine.mjs'

/** Every connection walks through all bodies from a place of its own: if all asked the same at a time, a server could share their work. */
function inTurn(requests, connections) {
  let next = 0
  return (client) => {
    const start = Math.floor((next++ * requests.length) / connections) % requests.length
    client.setRequests([...requests.slice(start), ...requests.slice(0, start)])
  }
}

/**
 * Closed-loop load: latencies in seconds, and how many cores other processes than `server` and this one kept busy meanwhile.
 * @param {import('./http-server.mjs').HttpServer} server
 */
export async function load(server, bodies, { connections, seconds }) {
  const { url } = server
  const requests = bodies.map((body) => ({
    ...{ method: 'POST', path: '/pooling', body, headers: { 'content-type': 'application/json' } },
  }))
  const [begun, busy, own] = [performance.now(), busyTicks() - server.ticks, process.cpuUsage()]
  const setupClient = inTurn(requests, connections)
  const result = await autocannon({ url, connections, requests, setupClient, duration: seconds, timeout: 60 })
  const elapsed = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(own)
  const others = (busyTicks() - server.ticks - busy) / TICKS_PER_SECOND - (user + system) / 1e6
  const answered = result['2xx']
  if (result.errors > 0 || result.non2xx > 0)
    throw new Error(`${url}: ${result.errors} errors, ${result.non2xx} answers that are not 2xx, beside ${answered}`)
  // Where nothing was answered there is no latency (and a file of JSON says null).
  const { p50, p99 } = answered > 0 ? result.latency : { p50: Number.POSITIVE_INFINITY, p99: Number.POSITIVE_INFINITY }
  const figures = { requestsPerSecond: answered / elapsed, p50: p50 / 1000, p99: p99 / 1000, requests: answered }
  return { connections, ...figures, othersBusy: Math.max(0, others / elapsed) }
}

/**
 * Throughputs at equal p99: where the peer answers most, and the most that ours answers without a longer p99 than the peer has there.
 * @param {{ requestsPerSecond: number, p99: number }[]} ours
 * @param {{ requestsPerSecond: number, p99: number }[]} peer
 */
export function atEqualP99(ours, peer) {
  const best = (points) => points.reduce((a, b) => (b.requestsPerSecond > a.requestsPerSecond ? b : a))
  const theirs = best(peer)
  const within = ours.filter(({ p99 }) => p99 <= theirs.p99)
  if (within.length === 0) return { ours: null, peer: theirs, ratio: 0 }
  const own = best(within)
  return { ours: own, peer: theirs, ratio: own.requestsPerSecond / theirs.requestsPerSecond }
}
