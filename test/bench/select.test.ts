/** Which benches the words of a command line name; nothing is run. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'

const root = resolve(import.meta.dirname, '..', '..', '..')
const { allBenches, isSelected, selectBenches } = await import(
  pathToFileURL(join(root, 'scripts', 'bench', 'select.mjs')).href
)

interface Bench {
  file: string
  jobs: string[]
  bench: { define?: (context: object) => { name: string }[] }
}

const cache = process.env.PRUDENT_CACHE
beforeAll(() => {
  process.env.PRUDENT_CACHE = mkdtempSync(join(tmpdir(), 'prudent-select-'))
})
afterAll(() => {
  rmSync(process.env.PRUDENT_CACHE as string, { recursive: true })
  if (cache === undefined) delete process.env.PRUDENT_CACHE
  else process.env.PRUDENT_CACHE = cache
})

async function selected(words: string[], options = {}): Promise<Record<string, string[]>> {
  const benches: Bench[] = selectBenches(await allBenches(options), words)
  return Object.fromEntries(benches.map(({ file, jobs }) => [file.replace(/^bench\/|\.mjs$/g, ''), jobs]))
}

describe('words', () => {
  test.each([
    [['training/reward-ragged'], { 'training/reward': ['training/reward-ragged'] }],
    [['pairs-score'], { 'training/pairs': ['training/pairs-score'] }],
    [['start-help'], { 'training/start': ['training/start-help'] }],
    [['training/pairs'], { 'training/pairs': ['training/pairs-score', 'training/pairs-train'] }],
    [['bench/training/ppo.mjs'], { 'training/ppo': ['training/ppo'] }],
    [['service/load'], { 'service/load': ['service/load'] }],
    [['rms_norm'], { 'ops/ops': ['ops/rms_norm forward', 'ops/rms_norm backward'] }],
    [['rms_norm backward', 'training/ppo'], { 'training/ppo': ['training/ppo'], 'ops/ops': ['ops/rms_norm backward'] }],
    [
      ['reward-equal', 'training/reward-ragged'],
      { 'training/reward': ['training/reward-ragged', 'training/reward-equal'] },
    ],
  ])('%j', async (words, expected) => {
    expect(await selected(words)).toEqual(expected)
  })

  test('none are all', async () => {
    const all: Bench[] = await allBenches()
    expect(Object.values(await selected([])).flat()).toEqual(all.flatMap(({ jobs }) => jobs))
    expect(all.length).toBeGreaterThan(10)
  })

  test('a word that names nothing is an error even beside one that does', async () => {
    await expect(selected(['training/ppo', 'rewrd'])).rejects.toThrow(/^'rewrd': no bench/)
    await expect(selected(['rotary backward'], { quick: true })).rejects.toThrow("'rotary backward'")
  })
})

test('the names are those of the jobs that the files define, and each names some', async () => {
  const say = () => {}
  const benches: Bench[] = (await allBenches({ quick: true })).filter(({ bench }: Bench) => bench.define)
  expect(benches.length).toBeGreaterThan(7)
  for (const { bench, jobs } of benches) {
    const defined = bench.define?.({ quick: true, say, peers: {}, only: [] }) ?? []
    expect(defined.filter((job) => !isSelected(job, jobs))).toEqual([])
    expect(jobs.filter((name) => !defined.some((job) => isSelected(job, [name])))).toEqual([])
  }
})

describe('npm run bench -- WORD', () => {
  const run = (args: string[]) =>
    new Promise<{ code: unknown; stdout: string; stderr: string }>((done) => {
      execFile(process.execPath, [join(root, 'scripts', 'bench.mjs'), ...args], (error, stdout, stderr) =>
        done({ code: error?.code ?? 0, stdout, stderr }),
      )
    })

  test('--list shows what the words name', async () => {
    const { code, stdout } = await run(['--list', 'reward-ragged'])
    expect([code, stdout]).toEqual([0, '  bench/training/reward.mjs: training/reward-ragged\n'])
  })

  test('a misspelt word runs nothing, is named, and what there is is listed', async () => {
    const { code, stdout, stderr } = await run(['--quick', '--no-install', '--no-native', 'training/rewrd'])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/^bench: E_USAGE: 'training\/rewrd': no bench/)
    for (const name of ['training/reward-ragged', 'ops/rms_norm', 'service/load']) expect(stderr).toContain(name)
    expect(stderr).not.toContain('rows in')
  })
})
