import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { readMetrics } from '../../ts/run/metrics.js'
import { countedRun } from './counted-run.js'

const child = join(dirname(fileURLToPath(import.meta.url)), 'crash-child.js')
let base: string
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'prudent-crash-'))
})
afterAll(() => rm(base, { recursive: true, force: true }))

function start(
  folder: string,
  killAt: number,
): Promise<{ signal: string | null; code: number | null; stdout: string }> {
  return new Promise((resolve) => {
    const running = execFile(process.execPath, [child, folder, String(killAt)], (_error, stdout) => {
      resolve({ signal: running.signalCode, code: running.exitCode, stdout })
    })
  })
}

async function outcome(folder: string) {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('events.')).sort()
  const metrics = (await readMetrics(join(folder, 'metrics.jsonl'))).entries
  const config = await readFile(join(folder, 'config.yaml'), 'utf8')
  return { names, metrics, config, weights: await readFile(join(folder, 'model', 'weights'), 'utf8') }
}

test('killed at any action on the file system, a run goes on and ends as if it had not been', async () => {
  const whole = join(base, 'whole')
  const { code, stdout } = await start(whole, 0)
  expect(code).toBe(0)
  const expected = await outcome(whole)
  expect(expected.names).toEqual(['checkpoints', 'config.yaml', 'metrics.jsonl', 'model'])
  expect(expected.metrics.map((entry) => entry.step)).toEqual([1, 2, 3, 4, 5])
  const actions = Number(stdout)
  expect(actions).toBeGreaterThan(40)

  const broken: string[] = []
  async function tryAt(action: number): Promise<void> {
    const folder = join(base, String(action))
    const first = await start(folder, action)
    const result = await countedRun(folder).then(() => outcome(folder), String)
    if (first.signal !== 'SIGKILL' || JSON.stringify(result) !== JSON.stringify(expected)) {
      broken.push(`killed at action ${action} (${first.signal}): ${JSON.stringify(result)}`)
    }
    await rm(folder, { recursive: true, force: true })
  }
  const todo = Array.from({ length: actions }, (_, index) => index + 1)
  const worker = async () => {
    for (let action = todo.shift(); action !== undefined; action = todo.shift()) await tryAt(action)
  }
  await Promise.all([worker(), worker()])
  expect(broken).toEqual([])
}, 120_000)
