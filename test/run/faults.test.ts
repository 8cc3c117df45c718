/** A training run under faults below Node: whatever moment it dies at, and whatever the disk does, it goes on to the same bits. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { broken, buildShim, outcome, recordStates, runWithFault } from './faults/faults.js'
import { ppoRun } from './faults/ppo-run.js'

/** Of the states on the disk that a run goes through; faults.long.test.ts goes on from each of them. */
const STATES = 60

let base: string
let shim: string
let whole: string
/** Calls of a run that nothing befell. */
let calls: number
const at = (name: string | number) => join(base, String(name))

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'prudent-faults-'))
  shim = buildShim(base)
  const { code, calls: counted } = await runWithFault(shim, at('whole'), { kind: 'none' })
  expect(code).toBe(0)
  calls = counted
  whole = outcome(at('whole'))
}, 60_000)
afterAll(() => rm(base, { recursive: true, force: true }))

test('what a kill before a write, sync, rename or removal, or within a write, leaves on the disk', async () => {
  const { copies, code, stderr, ...recorded } = await recordStates(shim, at('recorded'))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(recorded.calls).toBeGreaterThan(calls)
  expect(outcome(at('recorded'))).toBe(whole)
  expect(copies.length).toBeGreaterThan(100)
  const every = Math.ceil(copies.length / STATES)
  expect(
    await broken(
      copies.filter((_, index) => index % every === 0),
      whole,
    ),
  ).toEqual([])
}, 240_000)

test('a process that is killed for real, at some of these moments', async () => {
  for (const part of [0.15, 0.4, 0.65, 0.9]) {
    const folder = at(`killed-${part}`)
    const { signal } = await runWithFault(shim, folder, { kind: 'kill', at: Math.round(part * calls) })
    expect(signal).toBe('SIGKILL')
    await ppoRun(folder)
    expect(outcome(folder)).toBe(whole)
  }
}, 120_000)

test.each(['ENOSPC', 'EIO'] as const)(
  'a disk that answers %s says so, and leaves the last good state',
  async (kind) => {
    // The first calls take the run's lock; the others are amid checkpoints.
    for (const first of [
      1,
      2,
      3,
      4,
      5,
      6,
      ...[0.3, 0.375, 0.55, 0.745, 0.8, 0.84].map((part) => Math.round(part * calls)),
    ]) {
      const folder = at(`${kind}-${first}`)
      const { code, stderr } = await runWithFault(shim, folder, { kind, at: first })
      expect(code).toBe(1)
      expect(stderr).toMatch(
        new RegExp(`^E_IO: .*${folder}.*${kind === 'EIO' ? '(EIO|Input/output)' : '(ENOSPC|No space left)'}`),
      )
      await ppoRun(folder)
      expect(outcome(folder)).toBe(whole)
    }
  },
  240_000,
)

test('a folder that cannot be written to is refused before anything is trained', async () => {
  const { code, stderr } = await runWithFault(shim, at('read-only'), { kind: 'EROFS', at: 1 })
  expect(code).toBe(1)
  expect(stderr).toMatch(/^E_IO: .*read-only.*(EROFS|Read-only)/)
})
