import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { runPool } from '../../ts/study/pool.js'
import { StageStore } from '../../ts/study/stages.js'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'prudent-stages-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('a stage runs once; other dependencies run it again beside the first', async () => {
  let runs = 0
  const work = async () => ++runs
  const first = await new StageStore(folder).stage('a', [1], work)
  const again = await new StageStore(folder).stage('a', [1], work)
  const other = await new StageStore(folder).stage('a', [2], work)
  expect([first.value, again.value, other.value]).toEqual([1, 1, 2])
  expect([first.cached, again.cached, other.cached]).toEqual([false, true, false])
  expect(again.seconds).toBe(first.seconds)
  expect(other.key).not.toBe(first.key)
})

test('a stage that failed is run again, and the units that it finished are not', async () => {
  const made: number[] = []
  const run = (failAt: number) =>
    new StageStore(folder).sharedStage('units', [], async (context) => {
      const units = [0, 1, 2, 3].map((i) => ({
        name: `unit-${i}`,
        work: async () => {
          if (i === failAt) throw new Error('killed')
          made.push(i)
          return { value: i * i }
        },
      }))
      return (await new StageStore(folder).units(context, units, { width: 1 })).map((unit) => unit.value)
    })
  await expect(run(2)).rejects.toThrow('killed')
  expect((await run(-1)).value).toEqual([0, 1, 4, 9])
  expect(made).toEqual([0, 1, 2, 3])
})

test('a damaged result is made again', async () => {
  let runs = 0
  const { folder: stage } = await new StageStore(folder).stage('a', [], async () => ++runs)
  const file = path.join(stage, 'done.json')
  await writeFile(file, (await readFile(file, 'utf8')).slice(0, 5))
  expect((await new StageStore(folder).stage('a', [], async () => ++runs)).value).toBe(2)
  expect((await readdir(stage)).filter((name) => name.endsWith('.partial'))).toEqual([])
})

test('the pool keeps order and width, and starts nothing after a failure', async () => {
  let [running, most] = [0, 0]
  const task = (i: number) => async () => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setTimeout(resolve, 5))
    running -= 1
    return i
  }
  expect(await runPool([0, 1, 2, 3, 4].map(task), 2)).toEqual([0, 1, 2, 3, 4])
  expect(most).toBe(2)
  const started: number[] = []
  const failing = [0, 1, 2, 3, 4, 5].map((i) => async () => {
    started.push(i)
    if (i === 1) throw new Error('no')
  })
  await expect(runPool(failing, 2)).rejects.toThrow('no')
  expect(started.length).toBeLessThan(6)
})
