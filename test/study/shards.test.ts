import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Claims } from '../../ts/study/claims.js'
import { inShardOrder, parseShard, type Shard, shardOfEnvironment } from '../../ts/study/shards.js'
import { StageStore } from '../../ts/study/stages.js'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'prudent-shards-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('which shard', () => {
  test.each([0, 1])('counted from %d, n shards have every unit once', (first) => {
    const units = Array.from({ length: 11 }, (_, i) => i)
    const own = [0, 1, 2].flatMap((i) => {
      const { index, count } = parseShard(`${first + i}/3`)
      return units.filter((unit) => unit % count === index)
    })
    expect(own.sort((a, b) => a - b)).toEqual(units)
  })
  test.each(['', '1', '4/3', '1/0', '-1/3', 'a/b', '1/2/3', '1.5/2'])('%j is refused', (text) => {
    expect(() => parseShard(text)).toThrow(/--shard: expected i\/n/)
  })
  test.each<[Record<string, string>, Shard | null]>([
    [{}, null],
    [{ SLURM_ARRAY_TASK_ID: '', JOB_COMPLETION_INDEX: '' }, null],
    [
      { SLURM_ARRAY_TASK_ID: '2', SLURM_ARRAY_TASK_COUNT: '4' },
      { index: 2, count: 4 },
    ],
    [
      { SLURM_ARRAY_TASK_ID: '4', SLURM_ARRAY_TASK_COUNT: '4', SLURM_ARRAY_TASK_MIN: '1' },
      { index: 3, count: 4 },
    ],
    [
      { SLURM_ARRAY_TASK_ID: '9', SLURM_ARRAY_TASK_COUNT: '4', SLURM_ARRAY_TASK_MIN: '1', SLURM_ARRAY_TASK_STEP: '4' },
      { index: 2, count: 4 },
    ],
    [
      { SLURM_ARRAY_TASK_ID: '9', SLURM_ARRAY_TASK_COUNT: '3', SLURM_ARRAY_TASK_MIN: '1' },
      { index: 2, count: 3 },
    ],
    [
      { JOB_COMPLETION_INDEX: '0', PRUDENT_SHARD_COUNT: '8' },
      { index: 0, count: 8 },
    ],
  ])('%j', (environment, shard) => {
    expect(shardOfEnvironment(environment)).toEqual(shard)
  })
  test.each<[Record<string, string>, string]>([
    [{ JOB_COMPLETION_INDEX: '0' }, 'PRUDENT_SHARD_COUNT'],
    [{ SLURM_ARRAY_TASK_ID: '0' }, 'SLURM_ARRAY_TASK_COUNT'],
    [{ SLURM_ARRAY_TASK_ID: 'x', SLURM_ARRAY_TASK_COUNT: '1' }, 'SLURM_ARRAY_TASK_ID'],
  ])('%j is refused, naming %s', (environment, name) => {
    expect(() => shardOfEnvironment(environment)).toThrow(name)
  })
  test('own units come first, all come once', () => {
    expect(inShardOrder([0, 1, 2, 3, 4], { index: 1, count: 2 })).toEqual([1, 3, 0, 2, 4])
  })
})

/** A store as another process has one. */
const storeOf = (index: number, count: number, more: { wait?: boolean } = {}) =>
  new StageStore(folder, { claims: new Claims({ shard: { index, count }, pollMs: 5, ...more }) })

const units = (by: string, made: string[], count = 12, block?: Promise<void>) =>
  Array.from({ length: count }, (_, i) => ({
    name: `unit-${i}`,
    work: async () => {
      made.push(`${by}:${i}`)
      await (block ?? new Promise((resolve) => setTimeout(resolve, 1)))
      return { square: i * i }
    },
  }))

describe('several processes on one stage', () => {
  test('a stage is done by one, and all have its result', async () => {
    let runs = 0
    const work = async () => {
      runs += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { runs }
    }
    const results = await Promise.all([0, 1, 2].map((i) => storeOf(i, 3).stage('models', [], work)))
    expect(results.map(({ value }) => value)).toEqual([{ runs: 1 }, { runs: 1 }, { runs: 1 }])
  })

  test('no unit is done twice, every one has all results in order', async () => {
    const made: string[] = []
    const walk = (index: number, count: number) => {
      const store = storeOf(index, count)
      return store.sharedStage('policies', [], async (context) =>
        (await store.units(context, units(`${index}`, made), { width: 2 })).map(({ square }) => square),
      )
    }
    const results = await Promise.all([0, 1, 2].map((i) => walk(i, 3)))
    for (const { value } of results) expect(value).toEqual(Array.from({ length: 12 }, (_, i) => i * i))
    expect(made.map((entry) => entry.split(':')[1]).sort()).toEqual(Array.from({ length: 12 }, (_, i) => `${i}`).sort())
    expect((await readdir(path.dirname(results[0]?.folder ?? ''))).length).toBe(1)
  })

  test('what a process of another machine left when it died is taken over', async () => {
    const made: string[] = []
    const store = storeOf(0, 2)
    const result = await store.sharedStage('policies', [], async (context) => {
      await store.units(context, units('0', made, 1), { width: 1 })
      const lock = path.join(context.folder, 'unit-1.lock')
      await writeFile(lock, JSON.stringify({ pid: 1, host: 'dead', started: '1', id: 'x', heartbeat: 100 }))
      await utimes(lock, 1, 1)
      return (await store.units(context, units('0', made, 2), { width: 1 })).length
    })
    expect(result.value).toBe(2)
    expect(made).toEqual(['0:0', '0:1'])
  })

  test('without waiting: E_WAITING, after everything that can be done is done', async () => {
    let release = () => {}
    const block = new Promise<void>((resolve) => {
      release = resolve
    })
    const made: string[] = []
    const walk = (store: StageStore, list: ReturnType<typeof units>) =>
      store.sharedStage('policies', [], (context) => store.units(context, list, { width: 1 }))
    const first = walk(storeOf(0, 2), units('0', made, 4, block))
    while (made.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await expect(walk(storeOf(1, 2, { wait: false }), units('1', made, 4))).rejects.toMatchObject({
      code: 'E_WAITING',
      message: expect.stringContaining('unit-0'),
    })
    expect(made).toEqual(['0:0', '1:1', '1:3', '1:2'])
    release()
    await first
    expect(made).toHaveLength(4)
  })

  test('a failure is thrown, and its lock is gone', async () => {
    const store = storeOf(0, 2)
    const failing = [{ name: 'unit-0', work: async () => Promise.reject(new Error('broken')) }]
    const walk = store.sharedStage('policies', [], (context) => store.units(context, failing, { width: 1 }))
    await expect(walk).rejects.toThrow('broken')
    const [stage] = await readdir(path.join(folder, 'stages'))
    expect(await readdir(path.join(folder, 'stages', stage as string))).toEqual([])
  })
})

test('read only: a hole is refused by name, and nothing is run', async () => {
  const made: string[] = []
  const writing = storeOf(0, 1)
  const walk = (store: StageStore) =>
    store.sharedStage('policies', [], async (context) => {
      await store.units(context, units('0', made, 3), { width: 1 })
      return context.folder
    })
  const { value: stageFolder } = await walk(writing)
  const reading = new StageStore(folder, { readOnly: true })
  expect((await walk(reading)).cached).toBe(true)
  await rm(path.join(stageFolder, 'unit-1.json'))
  await expect(walk(reading)).rejects.toMatchObject({
    code: 'E_STATE',
    message: expect.stringContaining('unit-1 missing'),
  })
  await expect(reading.stage('models', [], async () => 1)).rejects.toThrow('stage models missing')
  expect(made).toHaveLength(3)
})
