/** As faults.test.ts, at every moment: each state on the disk, a process that is really killed at each call, a disk that fails from every third one on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { broken, buildShim, type Ending, type Fault, outcome, recordStates, runWithFault } from './faults/faults.js'

let base: string
let shim: string
let whole: string
let calls: number

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'prudent-all-faults-'))
  shim = buildShim(base)
  calls = (await runWithFault(shim, join(base, 'whole'), { kind: 'none' })).calls
  whole = outcome(join(base, 'whole'))
}, 60_000)
afterAll(() => rm(base, { recursive: true, force: true }))

async function afterFault(fault: Fault, endsSo: (ending: Ending) => boolean): Promise<string[]> {
  const folder = join(base, `${fault.kind}-${fault.at}`)
  const ending = await runWithFault(shim, folder, fault)
  const failures = endsSo(ending) ? await broken([folder], whole) : [`${folder}: ${JSON.stringify(ending)}`]
  await rm(folder, { recursive: true, force: true })
  return failures
}

test('every state on the disk that a run goes through', async () => {
  const { copies } = await recordStates(shim, join(base, 'recorded'))
  expect(await broken(copies, whole)).toEqual([])
}, 900_000)

test('killed at every call', async () => {
  const failures: string[] = []
  for (let at = 1; at <= calls; at++)
    failures.push(...(await afterFault({ kind: 'kill', at }, ({ signal }) => signal === 'SIGKILL')))
  expect(failures).toEqual([])
}, 1_800_000)

/** From the last calls on, which are removals, there is nothing left that could fail. */
const ended = ({ code, stderr }: Ending) =>
  code === 0 || (code === 1 && /^E_IO: .*(EIO|ENOSPC|No space|Input\/output)/.test(stderr))

test.each(['ENOSPC', 'EIO'] as const)(
  '%s from every third call on',
  async (kind) => {
    const failures: string[] = []
    for (let at = 2; at <= calls; at += 3) failures.push(...(await afterFault({ kind, at }, ended)))
    expect(failures).toEqual([])
  },
  1_800_000,
)
