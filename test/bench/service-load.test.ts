/** The load bench of the service: its arithmetic, its tables, and a small run. Nothing here asserts a time. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, jest, test } from '@jest/globals'

jest.setTimeout(120_000)

const root = resolve(import.meta.dirname, '..', '..', '..')
const support = (name: string) => import(pathToFileURL(join(root, 'bench', 'support', `${name}.mjs`)).href)
const point = (connections: number, requestsPerSecond: number, p99: number) => ({
  ...{ connections, requestsPerSecond, p99, p50: p99 / 2, othersBusy: 0.01 },
})

test('throughputs are compared where the tail is no longer than the peer’s at its best', async () => {
  const { atEqualP99 } = await support('http-load')
  const peer = [point(1, 10, 0.1), point(8, 40, 0.4), point(32, 38, 1)]
  const ours = [point(1, 30, 0.05), point(8, 90, 0.39), point(32, 120, 0.41)]
  expect(atEqualP99(ours, peer)).toEqual({ ours: ours[1], peer: peer[1], ratio: 90 / 40 })
  expect(atEqualP99([point(1, 500, 0.5)], peer)).toEqual({ ours: null, peer: peer[1], ratio: 0 })
})

test('a goal that is missed is shown as missed', async () => {
  const { serviceTables } = await support('service-table')
  const stamp = {
    date: '2026-01-01',
    commit: 'abcdef0123',
    machine: { cpu: 'a CPU' },
    threads: 2,
    about: { model: 'm' },
  }
  const equal = { ours: point(8, 60, 0.3), peer: point(8, 40, 0.4), ratio: 1.5 }
  const rows = [
    { ...stamp, row: 'ours', points: [point(1, 30, 0.05)], peakBytes: 2 ** 30 },
    { ...stamp, row: 'ours / transformers', equal, goal: { ratio: 2 } },
  ]
  const text = serviceTables(rows)
  expect(text).toContain('**1.50×** (goal ≥ 2× ✗)')
  expect(text).toContain('| 1 | 30.0 | 25.0 ms | 50.0 ms |')
  expect(serviceTables([{ ...rows[0] }, { ...rows[1], equal: { ...equal, ratio: 2.5 } }])).toContain('goal ≥ 2× ✓')
  // Beside each of the peer's loads: the most that ours answers within its p99.
  const peer = { ...stamp, row: 'transformers', points: [point(1, 20, 0.06), point(8, 40, 0.01)], peakBytes: 2 ** 30 }
  const own = { ...rows[0], points: [point(1, 30, 0.05), point(8, 50, 0.2)] }
  expect(serviceTables([own, peer])).toMatch(/\| 1 \| 30\.0 .*\| 1\.50× \|\n\| 8 \| .*\| — \|/)
  const silent = { ...point(32, 0, 1), p50: null, p99: null }
  expect(serviceTables([{ ...rows[0], points: [silent] }])).toContain('| 32 | 0.00 | — | — |')
  expect(serviceTables([])).toBe('')
})

test('npm run bench -- --quick service/load measures ours, and says that there is no peer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'prudent-load-'))
  const { PRUDENT_BENCH_LOCK: _lock, ...env } = process.env
  const args = [join(root, 'scripts', 'bench.mjs'), '--quick', '--no-install', '--no-native', 'service/load']
  const { stderr } = await promisify(execFile)(process.execPath, args, {
    cwd: root,
    env: { ...env, PRUDENT_CACHE: folder, PRUDENT_PEERS_PYTHON: '' },
  })
  expect(stderr).toContain('NO PEER service')
  const results = /rows in (\S+)$/m.exec(stderr)?.[1] ?? ''
  const rows = readdirSync(results).flatMap((file) => readFileSync(join(results, file), 'utf8').trim().split('\n'))
  const points = rows.map((line) => JSON.parse(line) as { row: string; points: { requests: number }[] })
  expect(points.map(({ row }) => row)).toEqual([
    'ours',
    'limit: no two requests share a forward',
    'limit: 512 tokens',
    'limit: 2048 tokens',
    'limit: 8192 tokens',
    'limit: 8192 tokens, products in int8',
  ])
  for (const { points: measured } of points) for (const { requests } of measured) expect(requests).toBeGreaterThan(0)
  rmSync(results, { recursive: true })
  rmSync(folder, { recursive: true })
})
