/** `prudent serve` under a mixture of requests, good, malformed and abandoned, with its resident memory looked at all the while. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'
import { runCommand } from '../support/run-command.js'
import { ENSEMBLE } from './apps.js'

const JSON_TYPE = { 'content-type': 'application/json' }
const words = (count: number) => Array.from({ length: count }, (_, at) => ['good', 'the', 'bad', 'a'][at % 4]).join(' ')

/** One cycle of a connection: what is asked, and whether it is answered with 200. */
const CYCLE: { path: string; body: unknown; good: boolean }[] = [
  { path: '/pooling', body: { input: words(12) }, good: true },
  { path: '/score', body: { prompt: words(5), response: [words(9), words(3), words(20)] }, good: true },
  { path: '/classify', body: { input: [[5, 6, 7], [8]] }, good: true },
  { path: '/pooling', body: { input: 3 }, good: false },
  { path: '/pooling', body: { messages: [{ role: 'user', content: words(8) }] }, good: true },
  { path: '/score', body: { prompt: words(4) }, good: false },
  { path: '/nowhere', body: {}, good: false },
  { path: '/pooling', body: { input: words(30), user: 'a' }, good: true },
]

export interface Soak {
  good: number
  malformed: number
  /** Connections that could not be made or broke. */
  errors: number
  /** Resident memory after each tenth of the requests, MiB. */
  megabytes: number[]
  /** Of the server after SIGTERM. */
  code: number | null
}

export const GOOD_SHARE = CYCLE.filter(({ good }) => good).length / CYCLE.length

export async function soak(requests: number): Promise<Soak> {
  const { url, child, ended } = await serve()
  const totals = { good: 0, malformed: 0, errors: 0 }
  const megabytes: number[] = []
  for (let tenth = 0; tenth < 10; tenth++) {
    const result = await autocannon({
      ...{ url, connections: 16, amount: requests / 10, timeout: 30 },
      requests: CYCLE.map(({ path, body }) => ({
        method: 'POST',
        path,
        headers: JSON_TYPE,
        body: JSON.stringify(body),
      })),
    })
    totals.good += result['2xx']
    totals.malformed += result['4xx']
    totals.errors += result.errors
    await abandon(url, 5)
    megabytes.push(residentMegabytes(child.pid as number))
  }
  child.kill('SIGTERM')
  return { ...totals, megabytes, code: (await ended).code }
}

function serve(): Promise<{ url: string; child: ChildProcess; ended: ReturnType<typeof runCommand> }> {
  return new Promise((resolve, reject) => {
    const ended = runCommand(['serve', '--model', ENSEMBLE, '--port', '0'], {
      started(child) {
        child.stderr?.on('data', (text: string) => {
          const [, url] = / on (http:\S+)\n/.exec(text) ?? []
          if (url !== undefined) resolve({ url, child, ended })
        })
      },
    })
    void ended.then(({ stderr }) => reject(new Error(stderr)))
  })
}

/** Clients that go away before they are answered. */
async function abandon(url: string, count: number): Promise<void> {
  const body = JSON.stringify({ input: Array.from({ length: 64 }, () => words(40)) })
  const asks = Array.from({ length: count }, (_, at) =>
    fetch(`${url}/pooling`, { method: 'POST', headers: JSON_TYPE, body, signal: AbortSignal.timeout(1 + at) }).then(
      (answer) => answer.arrayBuffer(),
      () => {},
    ),
  )
  await Promise.all(asks)
}

function residentMegabytes(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}
