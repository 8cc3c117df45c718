// Closed-loop load on an HTTP server: so many connections, each of which asks again as soon as it is answered.
import autocannon from 'autocannon'

/** @returns {Promise<{ connections: number, requestsPerSecond: number, p50: number, p99: number, requests: number }>} latencies in seconds */
export async function load(url, bodies, { connections, seconds, amount }) {
  const requests = bodies.map((body) => ({
    ...{ method: 'POST', path: '/pooling', body, headers: { 'content-type': 'application/json' } },
  }))
  const begun = performance.now()
  const limit = amount === undefined ? { duration: seconds } : { amount }
  const result = await autocannon({ url, connections, requests, timeout: 60, ...limit })
  const elapsed = (performance.now() - begun) / 1000
  const answered = result['2xx']
  if (result.errors > 0 || result.non2xx > 0)
    throw new Error(
      `${url}: ${result.errors} errors, ${result.non2xx} answers that are not 2xx, of ${answered + result.non2xx}`,
    )
  const { p50, p99 } = result.latency
  return { connections, requestsPerSecond: answered / elapsed, p50: p50 / 1000, p99: p99 / 1000, requests: answered }
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
