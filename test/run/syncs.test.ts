/** What is synced to the disk: saves by default, and a checkpoint's files once, by the run that makes a checkpoint of them. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { listFiles } from '../../ts/run/atomic-files.js'
import { buildShim, runWithFault } from './faults/faults.js'

let base: string
let shim: string
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'prudent-syncs-'))
  shim = buildShim(base)
}, 60_000)
afterAll(() => rm(base, { recursive: true, force: true }))

test('a save syncs what it writes; with `sync: false` nothing', async () => {
  const folder = join(base, 'saves')
  const { code, stderr, syncs } = await runWithFault(shim, folder, { kind: 'none' }, 'saves')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const files = await listFiles(folder)
  const ofModel = (name: string) =>
    files.filter((file) => file.startsWith(`${name}/`)).map((file) => file.split('/')[1])
  expect(ofModel('unsynced')).toEqual(ofModel('synced'))
  expect(files).toEqual(expect.arrayContaining(['unsynced.safetensors', 'synced.safetensors']))
  // Files are synced under the names that they have before they are whole.
  expect(syncs.filter((path) => path.includes('unsynced'))).toEqual([])
  for (const name of ofModel('synced')) expect(syncs).toContainEqual(expect.stringMatching(`synced.*/.*${name}`))
  expect(syncs).toContainEqual(expect.stringMatching(/^\.?synced\.safetensors/))
  // The folder that holds the new names.
  expect(syncs.at(-1)).toBe('')
})

test('a run syncs every file of a checkpoint once', async () => {
  const folder = join(base, 'run')
  const { code, syncs } = await runWithFault(shim, folder, { kind: 'none' })
  expect(code).toBe(0)
  const [step] = (await readdir(join(folder, 'checkpoints'))) as [string]
  const files = await listFiles(join(folder, 'checkpoints', step))
  expect(files).toEqual(expect.arrayContaining(['optimiser.safetensors', 'model/model.safetensors', 'manifest.json']))
  const partial = new RegExp(`^checkpoints/\\.${step}\\.\\d+\\.partial/?(.*)$`)
  const own = syncs.flatMap((path) => partial.exec(path)?.[1] ?? [])
  expect(own.filter((name) => files.includes(name)).sort()).toEqual(files.filter((name) => name !== 'manifest.json'))
  // Besides them the folders, and the manifest under its first name; the folder itself again for that.
  const others = own.filter((name) => !files.includes(name)).map((name) => name.replace(/\.manifest.*/, 'manifest'))
  expect(others.sort()).toEqual(['', '', 'manifest', 'model'])
})
