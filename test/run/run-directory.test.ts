import { execFileSync, spawn } from 'node:child_process'
import {
  appendFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open as openFile,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { completeConfig, type PlainConfig } from '../../ts/run/config-file.js'
import { lockFile } from '../../ts/run/lock.js'
import { RunDirectory } from '../../ts/run/run-directory.js'

const config = { seed: 1, model: { path: 'm', revision: undefined }, lr: 1e-5, names: ['a', 'b'] }
let base: string
let folder: string
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'prudent-run-'))
  folder = join(base, 'run')
})
afterEach(() => rm(base, { recursive: true, force: true }))

function open(
  options: {
    config?: Record<string, unknown>
    overwrite?: boolean
    complete?: (stored: PlainConfig) => PlainConfig
    keep?: number
    warn?: (message: string) => void
  } = {},
) {
  return RunDirectory.open(folder, { config, ...options })
}

async function withCheckpoints(steps: readonly number[], losses: Record<number, number> = {}): Promise<void> {
  const run = await open({ keep: 2 })
  for (const step of steps) {
    await run.log({ step, loss: step / 10 })
    const loss = losses[step]
    const options = { state: { at: step }, ...(loss === undefined ? {} : { loss }) }
    await run.saveCheckpoint(step, (into) => writeFile(join(into, 'weights.bin'), `weights ${step}`), options)
  }
  await run.close()
}

describe('lock', () => {
  test('one process at a time, this one included', async () => {
    const run = await open()
    await expect(open()).rejects.toMatchObject({
      code: 'E_LOCKED',
      message: expect.stringContaining(String(process.pid)),
    })
    await run.close()
    await run.close()
    await (await open()).close()
  })

  test('the lock of an ended process, of a reused pid and of a torn file is taken over', async () => {
    await (await open()).close()
    const ended = spawn(process.execPath, ['-e', ''])
    await new Promise((resolve) => ended.on('exit', resolve))
    const stale = [
      JSON.stringify({ pid: ended.pid, host: hostname(), started: '1', id: 'x' }),
      JSON.stringify({ pid: process.pid, host: hostname(), started: 'another start', id: 'x' }),
      '{"pid": 12',
    ]
    for (const content of stale) {
      await writeFile(join(folder, 'run.lock'), content)
      await (await open()).close()
    }
    expect((await readdir(folder)).filter((name) => name.includes('lock'))).toEqual([])
  })

  test('a lock of another machine stands', async () => {
    await (await open()).close()
    await writeFile(join(folder, 'run.lock'), JSON.stringify({ pid: 1, host: 'elsewhere', started: '1', id: 'x' }))
    await expect(open()).rejects.toMatchObject({ code: 'E_LOCKED', message: expect.stringContaining('elsewhere') })
  })

  test('a lock of another machine, or of another container of one name, is taken over once it gives no sign of life', async () => {
    await (await open()).close()
    const path = join(folder, 'run.lock')
    const elsewhere = { pid: process.pid, host: 'elsewhere', started: '1', id: 'x', heartbeat: 1000 }
    for (const owner of [elsewhere, { ...elsewhere, host: hostname(), space: 'pid:[1]' }]) {
      await writeFile(path, JSON.stringify(owner))
      await expect(open()).rejects.toMatchObject({ code: 'E_LOCKED' })
      const longAgo = Date.now() / 1000 - 60
      await utimes(path, longAgo, longAgo)
      await (await open()).close()
    }
  })

  test('a lock that is held gives signs of life and stays readable', async () => {
    await mkdir(folder)
    const path = join(folder, 'a.lock')
    const lock = await lockFile(path, { heartbeatMs: 5 })
    const { size } = await stat(path)
    while ((await stat(path)).size <= size + 2) await new Promise((resolve) => setTimeout(resolve, 5))
    await expect(lockFile(path)).rejects.toMatchObject({ code: 'E_LOCKED', received: String(process.pid) })
    await lock.release()
    expect(await readdir(folder)).toEqual([])
  })

  test('many at once: exactly one gets it', async () => {
    await (await open()).close()
    await writeFile(
      join(folder, 'run.lock'),
      JSON.stringify({ pid: 999999999, host: hostname(), started: '1', id: 'x' }),
    )
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => open()))
    const won = results.filter((result) => result.status === 'fulfilled')
    expect(won.length).toBe(1)
    for (const result of won) await result.value.close()
  })

  test('many at once, again and again, of a lock whose process has ended: exactly one gets it each time', async () => {
    await mkdir(folder, { recursive: true })
    const lock = join(folder, 'stage.lock')
    for (let round = 0; round < 40; round++) {
      await writeFile(lock, JSON.stringify({ pid: 999999999, host: hostname(), started: '1', id: 'x' }))
      const results = await Promise.allSettled(Array.from({ length: 12 }, () => lockFile(lock)))
      const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      expect(won.length).toBe(1)
      for (const held of won) await held.release()
      expect(await readdir(folder)).toEqual([])
    }
  })

  test('a removal whose process died within it is no obstacle', async () => {
    await mkdir(folder, { recursive: true })
    const lock = join(folder, 'stage.lock')
    const dead = JSON.stringify({ pid: 999999999, host: hostname(), started: '1', id: 'x' })
    await writeFile(lock, dead)
    await writeFile(join(folder, '.stage.lock.removal'), dead)
    await (await lockFile(lock)).release()
    expect(await readdir(folder)).toEqual([])
  })
})

describe('config', () => {
  test('the same configuration goes on, whatever its undefined values', async () => {
    await (await open()).close()
    await (await open({ config: { ...config, model: { path: 'm' } } })).close()
  })

  test('another configuration is refused with the keys that differ', async () => {
    await withCheckpoints([1])
    const other = { ...config, lr: 2e-5, model: { path: 'n' }, added: true }
    await expect(open({ config: other })).rejects.toMatchObject({ code: 'E_STATE', received: 'model.path, lr, added' })
    await (await open()).close()
  })

  test('settings that a run did not know yet count at their defaults', async () => {
    await withCheckpoints([1])
    const schema = z.strictObject({
      ...{ seed: z.int(), lr: z.number(), model: z.strictObject({ path: z.string(), cut: z.int().default(8) }) },
      names: z.array(z.string()),
      added: z.boolean().default(false),
    })
    const complete = (stored: PlainConfig) => completeConfig(schema, stored)
    const now = (more: object) => schema.parse({ ...config, model: { path: 'm' }, ...more })
    await (await open({ config: now({}), complete })).close()
    await expect(open({ config: now({}) })).rejects.toMatchObject({ received: 'model.cut, added' })
    const other = open({ config: now({ model: { path: 'm', cut: 9 } }), complete })
    await expect(other).rejects.toMatchObject({ code: 'E_STATE', received: 'model.cut' })
    // What the schema refuses, a setting that is gone say, is compared as it stands.
    const only = z.strictObject({ seed: z.int().default(1) })
    const gone = open({ config: { ...config, seed: 2 }, complete: (stored) => completeConfig(only, stored) })
    await expect(gone).rejects.toMatchObject({ received: 'seed' })
  })

  test('a run that took no step takes another configuration', async () => {
    await (await open()).close()
    await (await open({ config: { seed: 2 } })).close()
    expect(await readFile(join(folder, 'config.yaml'), 'utf8')).toBe('seed: 2\n')
  })

  test('overwrite begins anew and touches nothing but artefacts', async () => {
    await withCheckpoints([1, 2])
    await writeFile(join(folder, 'notes.txt'), 'mine')
    const run = await open({ config: { seed: 2 }, overwrite: true })
    expect(await run.resume()).toBeNull()
    expect(run.metrics).toEqual([])
    await run.close()
    expect((await readdir(folder)).sort()).toEqual(['config.yaml', 'notes.txt'])
  })

  test('a folder with something else in it is no run', async () => {
    await mkdir(folder)
    await writeFile(join(folder, 'thesis.tex'), '')
    await expect(open()).rejects.toMatchObject({ code: 'E_EXISTS', received: 'thesis.tex' })
    expect(await readdir(folder)).toEqual(['thesis.tex'])
  })
})

describe('checkpoints', () => {
  test('the newest one comes back with state and files, metrics cut to it', async () => {
    await withCheckpoints([2, 4])
    const late = await open()
    await late.log({ step: 5, loss: Number.NaN })
    await late.close()
    const run = await open()
    expect(run.metrics.at(-1)).toEqual({ step: 5, loss: Number.NaN })
    const checkpoint = await run.resume()
    expect(checkpoint).toMatchObject({ step: 4, state: { at: 4 } })
    expect(await readFile(join(checkpoint?.folder ?? '', 'weights.bin'), 'utf8')).toBe('weights 4')
    expect(run.metrics.map((entry) => entry.step)).toEqual([2, 4])
    await run.close()
    expect((await readFile(join(folder, 'metrics.jsonl'), 'utf8')).split('\n').length).toBe(3)
  })

  test('the newest and the best are kept', async () => {
    await withCheckpoints([1, 2, 3, 4, 5], { 1: 0.5, 2: 0.1, 3: 0.3, 4: 0.2, 5: 0.4 })
    expect((await readdir(join(folder, 'checkpoints'))).sort()).toEqual(['step-2', 'step-4', 'step-5'])
  })

  const damages: [string, (checkpoint: string) => Promise<void>][] = [
    ['a flipped byte', (checkpoint) => flip(join(checkpoint, 'weights.bin'))],
    ['a cut file', (checkpoint) => truncate(join(checkpoint, 'weights.bin'), 3)],
    ['a missing file', (checkpoint) => rm(join(checkpoint, 'weights.bin'))],
    ['a missing manifest', (checkpoint) => rm(join(checkpoint, 'manifest.json'))],
    [
      'a changed state',
      async (checkpoint) => {
        const path = join(checkpoint, 'manifest.json')
        await writeFile(path, (await readFile(path, 'utf8')).replace('"at": 4', '"at": 7'))
      },
    ],
  ]
  test.each(damages)('%s: falls back with a warning, and fails when none is whole', async (_name, damage) => {
    await withCheckpoints([2, 4])
    const warnings: string[] = []
    await damage(join(folder, 'checkpoints', 'step-4'))
    const run = await open({ warn: (message) => warnings.push(message) })
    expect(await run.resume()).toMatchObject({ step: 2 })
    expect(warnings.join()).toContain('step-4')
    await run.close()
    await rm(join(folder, 'checkpoints', 'step-2'), { recursive: true })
    const alone = await open()
    await expect(alone.resume()).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringContaining('step-4'),
    })
    await alone.close()
  })

  test('a failed write leaves the old one', async () => {
    await withCheckpoints([2])
    const run = await open()
    const failing = run.saveCheckpoint(3, async (into) => {
      await writeFile(join(into, 'half'), '')
      throw new Error('disk on fire')
    })
    await expect(failing).rejects.toMatchObject({ code: 'E_IO', message: expect.stringContaining('disk on fire') })
    expect(await run.resume()).toMatchObject({ step: 2 })
    await run.close()
    expect(await readdir(join(folder, 'checkpoints'))).toEqual(['step-2'])
  })

  test('steps go on while one is completed; the next waits for it; its failure is told and leaves the old one', async () => {
    await withCheckpoints([2])
    const run = await open()
    await run.resume()
    let pipe = ''
    // A pipe holds up whoever opens it, to sync it say, until somebody opens its other end; and it cannot be synced.
    await run.saveCheckpoint(4, async (into) => {
      pipe = join(into, 'pipe')
      execFileSync('mkfifo', [pipe])
    })
    await run.log({ step: 5, loss: 0 })
    let begun = false
    const next = run.saveCheckpoint(6, async () => {
      begun = true
    })
    const told = expect(next).rejects.toMatchObject({ code: 'E_IO', message: expect.stringContaining('step-4') })
    await new Promise((resolve) => setImmediate(resolve))
    expect({ begun, steps: await readdir(join(folder, 'checkpoints')) }).toEqual({
      begun: false,
      steps: [expect.stringMatching(/^\.step-4\..*partial$/), 'step-2'],
    })
    await (await openFile(pipe, 'w')).close()
    await told
    expect(begun).toBe(false)
    await run.log({ step: 6, loss: 0 })
    expect(await run.resume()).toMatchObject({ step: 2 })
    await run.close()
    expect(await readdir(join(folder, 'checkpoints'))).toEqual(['step-2'])
  })

  test('a failure that nobody asked about is told by the next step, or when the run is closed', async () => {
    const handles: FileHandle[] = []
    const failing = async () => {
      const run = await open()
      await run.saveCheckpoint(1, async (into) => {
        execFileSync('mkfifo', [join(into, 'pipe')])
        // Read and write: opening it waits for nobody, and the sync fails at once.
        handles.push(await openFile(join(into, 'pipe'), 'r+'))
      })
      return run
    }
    const closed = await failing()
    await expect(closed.close()).rejects.toMatchObject({ code: 'E_IO' })
    const logged = await failing()
    await expect(
      (async () => {
        for (let step = 2; ; step += 1) await logged.log({ step, loss: 0 })
      })(),
    ).rejects.toMatchObject({ code: 'E_IO' })
    await logged.close()
    for (const handle of handles) await handle.close()
  })
})

describe('metrics', () => {
  test('a torn last line is cut, a broken one before it is an error', async () => {
    await withCheckpoints([2])
    const path = join(folder, 'metrics.jsonl')
    await appendFile(path, '{"step":3,"lo')
    const run = await open()
    expect(run.metrics).toEqual([{ step: 2, loss: 0.2 }])
    await run.log({ step: 3, loss: 1 })
    await run.close()
    expect(await readFile(path, 'utf8')).toBe('{"step":2,"loss":0.2}\n{"step":3,"loss":1}\n')
    await appendFile(path, 'nonsense\n')
    await expect(open()).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringContaining('metrics.jsonl:3'),
    })
  })

  test('numbers that JSON lacks come back', async () => {
    const run = await open()
    await run.log({ step: 1, a: Number.NaN, b: Number.NEGATIVE_INFINITY, c: 0.1 + 0.2 })
    await run.close()
    const again = await open()
    expect(again.metrics).toEqual([{ step: 1, a: Number.NaN, b: Number.NEGATIVE_INFINITY, c: 0.1 + 0.2 }])
    await again.close()
  })
})

test('model/ appears whole or not at all', async () => {
  const run = await open()
  expect(await run.isDone()).toBe(false)
  await expect(run.saveModel(() => Promise.reject(new Error('no')))).rejects.toMatchObject({ code: 'E_IO' })
  expect(await run.isDone()).toBe(false)
  await run.saveModel((into) => writeFile(join(into, 'config.json'), '{}'))
  expect(await run.isDone()).toBe(true)
  await run.close()
})

async function flip(path: string): Promise<void> {
  const bytes = await readFile(path)
  bytes[3] = (bytes[3] as number) ^ 1
  await writeFile(path, bytes)
}
