import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { RunDirectory } from '../../ts/run/run-directory.js'
import { crc32c, EventWriter, maskedCrc32c } from '../../ts/run/tensorboard.js'
import { pythonWith } from '../support/trackers.js'
import { readEvents } from './read-events.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-events-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('CRC-32C of the published vectors (RFC 3720, B.4)', () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, index) => index)
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
  expect(crc32c(ascending)).toBe(0x46dd794e)
  expect(crc32c(ascending.toReversed())).toBe(0x113fdb5c)
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283)
})

test('the mask of an all-zero length, as TensorFlow writes it', () => {
  // tf.io.TFRecordWriter of an empty record: length 0, masked CRC 0x07980329 (bytes 29 03 98 07), then masked CRC of nothing.
  expect(maskedCrc32c(new Uint8Array(8))).toBe(0x07980329)
  expect(maskedCrc32c(new Uint8Array(0))).toBe(0xa282ead8)
})

test('scalars come back by name and step', async () => {
  const writer = await EventWriter.create(folder)
  await writer.scalars(1, { 'train/loss': 0.5, 'objective/kl': -1.25 })
  await writer.scalars(300, { 'train/loss': Number.NaN, ünïcode: 3e38 })
  await writer.scalars(2 ** 40, { long: 7 })
  await writer.close()
  const events = readEvents(await readFile(writer.path))
  expect(events[0]).toMatchObject({ fileVersion: 'brain.Event:2', step: 0 })
  expect(events.slice(1).map(({ step, scalars }) => ({ step, scalars }))).toEqual([
    { step: 1, scalars: { 'train/loss': 0.5, 'objective/kl': -1.25 } },
    { step: 300, scalars: { 'train/loss': Number.NaN, ünïcode: Math.fround(3e38) } },
    { step: 2 ** 40, scalars: { long: 7 } },
  ])
  expect(Math.abs((events[1]?.wallTime ?? 0) - Date.now() / 1000)).toBeLessThan(60)
})

test('the reader of these tests refuses a changed byte', async () => {
  const writer = await EventWriter.create(folder)
  await writer.scalars(1, { loss: 0.5 })
  await writer.close()
  const bytes = await readFile(writer.path)
  bytes[bytes.length - 6] = (bytes[bytes.length - 6] as number) ^ 1
  expect(() => readEvents(bytes)).toThrow('checksum')
})

test('a resumed run tells TensorBoard which steps to forget', async () => {
  for (const last of [3, 2]) {
    const run = await RunDirectory.open(folder, { config: {} })
    const start = (await run.resume())?.step ?? 0
    for (let step = start + 1; step <= start + last; step++) {
      await run.log({ step, loss: step })
      if (step === 2) await run.saveCheckpoint(2, async () => {})
    }
    await run.close()
  }
  const names = (await readdir(folder)).filter((name) => name.startsWith('events.')).sort()
  expect(names.length).toBe(2)
  const second = readEvents(await readFile(join(folder, names[1] as string)))
  expect(second[1]).toMatchObject({ step: 3, sessionStart: true })
  expect(second.slice(2).map((event) => event.step)).toEqual([3, 4])
})

const python = pythonWith('tensorboard')
const testWithTensorboard = python === null ? test.skip : test

testWithTensorboard(
  'tensorboard reads the files of a run that was stopped and resumed, each step once',
  async () => {
    const run = async (last: number, checkpointAt: number) => {
      const directory = await RunDirectory.open(folder, { config: {} })
      const start = (await directory.resume())?.step ?? 0
      for (let step = start + 1; step <= last; step++) {
        await directory.log({ step, 'train/loss': start + 1 / step, 'objective/kl': step })
        if (step === checkpointAt) await directory.saveCheckpoint(step, async () => {})
      }
      await directory.close()
    }
    const read = `
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import json, sys
events = EventAccumulator(sys.argv[1]); events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))`
    await run(4, 2)
    await run(5, 5)
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore']
    const output = execFileSync(python as string, ['-c', read, folder], { encoding: 'utf8', stdio })
    const steps = [1, 2, 3, 4, 5]
    expect(JSON.parse(output)).toEqual({
      'train/loss': steps.map((step) => [step, Math.fround((step > 2 ? 2 : 0) + 1 / step)]),
      'objective/kl': steps.map((step) => [step, step]),
    })
  },
  60_000,
)
