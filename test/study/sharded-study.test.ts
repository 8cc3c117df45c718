import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type Summary, summarySchema } from '../../ts/study/summary.js'
import { type CommandResult, runCommand } from '../support/run-command.js'

const folder = mkdtempSync(path.join(tmpdir(), 'prudent-sharded-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const runFolder = (name: string) => path.join(folder, name)
const study = (name: string, more: string[], options: Parameters<typeof runCommand>[1] = {}) =>
  runCommand(
    [
      'study',
      '--config',
      'configs/laptop-smoke.yaml',
      '--set',
      'executor.lanes=1',
      '--output',
      runFolder(name),
      ...more,
    ],
    { input: '', ...options },
  )

function numbersOf(name: string): Omit<Summary, 'timings' | 'peakMemoryBytes' | 'environment'> {
  const summary = summarySchema.parse(JSON.parse(readFileSync(path.join(runFolder(name), 'summary.json'), 'utf8')))
  const { timings, peakMemoryBytes, environment, ...numbers } = summary
  return numbers
}

const expectDone = ({ code, stderr }: CommandResult) =>
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })

/** `… ` lines name a stage when a process begins it. */
const begun = (result: CommandResult) => [...result.stderr.matchAll(/^(\S+) …$/gm)].map((match) => match[1] as string)

beforeAll(async () => {
  expectDone(await study('whole', []))
}, 120_000)

test('two shards at once end with the numbers of one process, and no shared stage is done twice', async () => {
  const results = await Promise.all(['1/2', '2/2'].map((shard) => study('pair', ['--shard', shard])))
  results.forEach(expectDone)
  expect(numbersOf('pair')).toEqual(numbersOf('whole'))
  // Of these a process begins units, which are divided.
  const divided = /^(policies-|calibration-|independent-models$)/
  const shared = results.flatMap(begun).filter((stage) => !divided.test(stage))
  expect(shared.length).toBeGreaterThan(5)
  expect(shared.filter((stage, i) => shared.indexOf(stage) !== i)).toEqual([])
  for (const result of results) expect(result.stdout.trim()).toBe(path.join(runFolder('pair'), 'report.html'))
}, 240_000)

test('a shard that is killed is no loss: the other does its part; started again it finds all done', async () => {
  const environment = { SLURM_ARRAY_TASK_ID: '1', SLURM_ARRAY_TASK_COUNT: '2', SLURM_ARRAY_TASK_MIN: '1' }
  // The other starts when this one is in the middle of its policies: side by side it may have done all of them by then.
  let amidPolicies = (_: ChildProcess) => {}
  const reached = new Promise<ChildProcess>((resolve) => {
    amidPolicies = resolve
  })
  const first = study('killed', [], {
    environment,
    started: (child) => {
      let text = ''
      child.stderr?.on('data', (more: string) => {
        text += more
        if (/^policies-\S+ …$/m.test(text)) amidPolicies(child)
      })
    },
  })
  const child = await Promise.race([reached, first.then(() => null)])
  const second = study('killed', [], { environment: { JOB_COMPLETION_INDEX: '1', PRUDENT_SHARD_COUNT: '2' } })
  const killed = child?.kill('SIGKILL')
  const [dead, alive] = await Promise.all([first, second])
  expect(killed).toBe(true)
  expect(dead.signal).toBe('SIGKILL')
  expectDone(alive)
  expect(numbersOf('killed')).toEqual(numbersOf('whole'))
  const again = await study('killed', [], { environment })
  expectDone(again)
  expect(begun(again)).toEqual([])
}, 240_000)

test('--prepare trains no policy; --aggregate names what is missing and trains nothing', async () => {
  expectDone(await study('parts', ['--prepare']))
  const stages = () => readdirSync(path.join(runFolder('parts'), 'stages')).sort()
  const prepared = stages()
  expect(prepared.filter((stage) => /^(policies|calibration)-/.test(stage))).toEqual([])
  const early = await study('parts', ['--aggregate'])
  expect(early.code).toBe(1)
  expect(early.stderr).toContain('error E_STATE')
  expect(early.stderr).toContain('-head-')
  expect(stages()).toEqual(prepared)

  const whole = path.join(runFolder('whole'), 'stages')
  const arm = readdirSync(whole).find((stage) => stage.startsWith('policies-anchored-vanilla')) as string
  rmSync(path.join(whole, arm, 'anchored.vanilla-e1-h2-t0.json'))
  const before = numbersOf('whole')
  const hole = await study('whole', ['--aggregate'])
  expect(hole.code).toBe(1)
  expect(hole.stderr).toContain('anchored.vanilla-e1-h2-t0 missing')
  expectDone(await study('whole', []))
  expectDone(await study('whole', ['--aggregate']))
  expect(numbersOf('whole')).toEqual(before)
}, 240_000)

test('--plan prints every policy; 100 a method are a matter of the layout', async () => {
  const { code, stdout } = await study('none', ['--plan', '--set', 'layout={ensembles: 10, heads: 10, trials: 1}'])
  expect(code).toBe(0)
  const plan = JSON.parse(stdout) as { policies: number; arms: { policies: number }[]; units: { name: string }[] }
  expect(plan.arms.map((arm) => arm.policies)).toEqual(plan.arms.map(() => 100))
  expect(plan.units).toHaveLength(plan.policies)
  expect(new Set(plan.units.map((unit) => unit.name)).size).toBe(plan.policies)
})

test('what cannot be is refused: a shard of nothing, another configuration, contradicting options', async () => {
  for (const [more, text] of [
    [['--shard', '3/2'], '--shard'],
    [['--shard', '0/2', '--set', 'seed=99'], 'seed'],
    [['--shard', '0/2', '--aggregate'], 'cannot be used with'],
  ] satisfies [string[], string][]) {
    const result = await study('whole', more)
    expect(result.code).toBe(more.includes('seed=99') ? 1 : 2)
    expect(result.stderr).toContain(text)
  }
  const uncounted = await study('whole', [], { environment: { JOB_COMPLETION_INDEX: '0' } })
  expect({ code: uncounted.code, named: uncounted.stderr.includes('PRUDENT_SHARD_COUNT') }).toEqual({
    code: 2,
    named: true,
  })
})
