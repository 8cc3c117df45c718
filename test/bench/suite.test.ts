/**
 * The bench suite itself: that what it calls equal is equal, that sides take turns, that a slower row is shown, and that a small run
 * goes through. Nothing here asserts a time.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { RewardModel } from '../../ts/index.js'

const root = resolve(import.meta.dirname, '..', '..', '..')
const support = (name: string) => import(pathToFileURL(join(root, 'bench', 'support', `${name}.mjs`)).href)
const FAKE_SIDE = join(root, 'test', 'bench', 'sides', 'fake-side.mjs')

let folder: string
beforeAll(() => {
  // Whoever runs the tests may hold that lock.
  delete process.env.PRUDENT_BENCH_LOCK
  folder = mkdtempSync(join(tmpdir(), 'prudent-suite-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('statistics', () => {
  test('quantiles are numpy’s, the ratio is that of the medians with the spread of neighbouring runs', async () => {
    const { quantile, speedRatio } = await support('statistics')
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5)
    expect(quantile([1, 2, 3, 4, 5, 6], 0.2)).toBeCloseTo(2, 12)
    // Both are twice as slow in the second round: the ratio does not notice.
    const ratio = speedRatio([1, 2, 1], [3, 6, 3])
    expect(ratio).toEqual({ median: 3, p20: 3, p80: 3 })
    expect(speedRatio([2, 2], [1, 1]).median).toBe(0.5)
  })
})

describe('results are compared before anything is timed', () => {
  test.each([
    ['off by more than the tolerance', { scores: [1, 2.01] }],
    ['not a number', { scores: [1, Number.NaN] }],
    ['too few', { scores: [1] }],
    ['nothing in common', { other: [1, 2] }],
  ])('%s is a problem', async (_, actual) => {
    const { compareResults } = await support('equal')
    expect(compareResults(actual, { scores: [1, 2] }, 1e-3).problems).toHaveLength(1)
  })

  test('within the tolerance is none; tolerances may be named', async () => {
    const { compareResults } = await support('equal')
    expect(compareResults({ scores: [1, 2.001] }, { scores: [1, 2] }, 1e-3).problems).toEqual([])
    expect(compareResults({ ids: [3] }, { ids: [3] }, { ids: 0 }).problems).toEqual([])
    expect(compareResults({ ids: [4] }, { ids: [3] }, { ids: 0 }).problems).toHaveLength(1)
  })
})

describe('bf16 is held against the truth, by the yardstick’s own error', () => {
  const rule = { factor: 2, floor: 0.004, most: 0.25 }

  test.each([
    ['twice the yardstick’s error', { yardstick: 0.1, allowed: 0.2 }],
    ['half a unit in the last place where the yardstick is exact', { yardstick: 0, allowed: 0.004 }],
    ['never what would be a mistake of substance', { yardstick: 0.9, allowed: 0.25 }],
    ['gross mistakes alone where there is no yardstick', { yardstick: undefined, allowed: 0.25 }],
  ])('%s is allowed', async (_, { yardstick, allowed }) => {
    const { allowedErrors } = await support('equal')
    expect(allowedErrors(yardstick === undefined ? undefined : { y: yardstick }, rule)('y')).toBe(allowed)
  })
})

/** A job of fake sides: real processes that speak the protocol, hold some memory and answer with what they were told. */
function fakeJob(answers: Record<string, number[]>) {
  const contestants = Object.entries(answers).map(([name, scores]) => ({
    ...{ name, kind: 'today', dtype: 'float32', job: 'fake' },
    options: { scores, megabytes: name === 'large' ? 96 : 1 },
  }))
  const [ours, peer] = Object.keys(answers)
  return { name: 'training/fake', reference: peer, contestants, comparisons: [{ ours, peer, goal: { memory: 0.5 } }] }
}

async function runFake(answers: Record<string, number[]>, rounds = 3, more: object = {}) {
  const { runJob } = await support('run-job')
  const said: string[] = []
  const peers = { today: { python: process.execPath, env: {} } }
  const environment = { threads: 1, peers, rounds, warmups: 1, quick: true, say: (line: string) => said.push(line) }
  const outcome = await runJob({ ...fakeJob(answers), ...more }, { ...environment, peerScript: FAKE_SIDE })
  return { ...outcome, said }
}

describe('a job', () => {
  test('times sides in turn, A B A B, and measures each one’s own memory', async () => {
    const { rows, said, problems } = await runFake({ small: [1, 2], large: [1, 2] })
    expect(problems).toEqual([])
    const turns = said.flatMap((line: string) => /^(?:round \d\/3|warm-up) (\w+):/.exec(line)?.[1] ?? [])
    expect(turns).toEqual(['small', 'large', 'small', 'large', 'small', 'large', 'small', 'large'])
    const [row] = rows
    expect(row.ours.samples).toHaveLength(3)
    expect(row.peer.peakBytes - row.ours.peakBytes).toBeGreaterThan(64 * 2 ** 20)
    expect(row.ratio.median).toBeGreaterThan(0)
    expect(row).toMatchObject({
      job: 'training/fake',
      machine: { cores: expect.any(Number) },
      commit: expect.any(String),
    })
  })

  test('gives no row when the results differ', async () => {
    const { rows, problems } = await runFake({ small: [1, 2.5], large: [1, 2] }, 1)
    expect(rows).toEqual([])
    expect(problems).toEqual([expect.stringContaining('small: against large: scores is off by')])
  })

  test('is held against a second reference of its own dtype where the job names one', async () => {
    const also = { float32: { reference: 'third', tolerances: { scores: 1e-3 } } }
    const answers = { ours: [1, 2.0001], peer: [1, 2], third: [1, 2.5] }
    const { problems } = await runFake(answers, 1, { tolerances: { float32: { scores: 0.5 } }, also })
    expect(problems).toEqual([
      expect.stringContaining('ours: against third: scores is off by'),
      expect.stringContaining('peer: against third: scores is off by'),
    ])
  })

  describe('with a truth', () => {
    const truths = { float32: { reference: 'truth', yardstick: 'peer', factor: 2, floor: 0.004, most: 0.25 } }
    const withTruth = (answers: Record<string, number[]>) => {
      const job = fakeJob(answers)
      const contestants = job.contestants.map((one) => ({
        ...one,
        ...(one.name === 'truth' ? { timed: false } : {}),
      }))
      return runFake(answers, 1, { contestants, truths })
    }

    test('ours may be off by twice what the peer is off by, the truth is never timed', async () => {
      const { rows, problems, said } = await withTruth({ ours: [1, 2.15], peer: [1, 1.8], truth: [1, 2] })
      expect(problems).toEqual([])
      expect(rows).toHaveLength(1)
      expect(said.filter((line: string) => /^(round|warm-up).* truth:/.test(line))).toEqual([])
    })

    test('ours off by more has no row, a peer off by as much has one', async () => {
      const { rows, problems } = await withTruth({ ours: [1, 2.15], peer: [1, 2.02], truth: [1, 2] })
      expect(rows).toEqual([])
      expect(problems).toEqual([
        expect.stringContaining('ours: against truth: scores is off by 0.0750, allowed is 0.02'),
      ])
    })

    test('a peer that is grossly wrong has none', async () => {
      const { problems } = await withTruth({ ours: [1, 2], peer: [1, 3], truth: [1, 2] })
      expect(problems).toEqual([expect.stringContaining('peer: against truth: scores is off by')])
    })
  })

  test('fails with what the side said when it dies', async () => {
    await expect(runFake({ small: [], large: [1] }, 1)).rejects.toThrow('no scores given')
  })
})

describe('tables', () => {
  test('a slower row is shown like any other, its goal as missed', async () => {
    const { rows } = await runFake({ small: [1], large: [1] }, 1)
    const { fullTables } = await support('table')
    const slower = { ...rows[0], ratio: { median: 0.42, p20: 0.4, p80: 0.44 }, goal: { ratio: 2 } }
    const text = fullTables([slower])
    expect(text).toContain('**0.42×** (0.40–0.44)')
    expect(text).toContain('≥ 2× ✗')
    expect(fullTables([{ ...slower, ratio: { median: 2.5, p20: 2, p80: 3 } }])).toContain('≥ 2× ✓')
  })

  test('only what stands between the markers is replaced', async () => {
    const { replaceBetween } = await support('table')
    const text = 'a\n<!-- bench:jobs -->\nold\n<!-- /bench:jobs -->\nb\n'
    expect(replaceBetween(text, 'jobs', 'new')).toBe('a\n<!-- bench:jobs -->\nnew\n<!-- /bench:jobs -->\nb\n')
    expect(replaceBetween(text, 'ops', 'new')).toBeUndefined()
  })

  test('of each comparison the latest row on each kind of processor is shown, and none of a quick run', async () => {
    const { latestRows } = await support('results')
    const row = (date: string, quick: boolean, features: string[] = ['avx2', 'avx512f']) => ({
      date,
      quick,
      job: 'j',
      row: 'r',
      machine: { cpu: 'any', features },
    })
    const tiles = row('2026-01-01', false, ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'])
    const rows = [row('2026-01-02', false), row('2026-01-03', true), row('2026-01-01', false), tiles]
    expect(latestRows(rows)).toEqual([row('2026-01-02', false), tiles])
  })

  test('each kind of processor has a table of its own', async () => {
    const { rows } = await runFake({ small: [1], large: [1] }, 1)
    const { fullTables, shortTable } = await support('table')
    const on = (features: string[]) => ({ ...rows[0], machine: { ...rows[0].machine, features } })
    const two = [on(['avx2', 'avx512f']), on(['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'])]
    expect(fullTables(two).match(/^\| ours \/ peer/gm)).toHaveLength(2)
    expect(fullTables(two)).toContain('(AMX)')
    expect(shortTable(two)).toContain('| AVX-512 |')
  })
})

test('weights are seeded, hold the same numbers in both dtypes, and load', async () => {
  const { writeModel, CONFIGS } = await support('models')
  const ids = [[11, 12, 13], [20]]
  const scores = []
  for (const [name, dtype, seed] of [
    ['a', 'float32', 1],
    ['b', 'bfloat16', 1],
    ['c', 'float32', 2],
  ] as const) {
    writeModel(join(folder, name), CONFIGS['gemma-tiny-10-heads'], dtype, seed)
    const model = await RewardModel.load(join(folder, name), { dtype: 'float32' })
    scores.push((await model.score({ ids })).flatMap((row) => [...row.scores]))
    await model.dispose()
  }
  expect(scores[0]).toHaveLength(20)
  expect(scores[1]).toEqual(scores[0])
  expect(scores[2]).not.toEqual(scores[0])
})

test('the limit of a job counts each product once, and the last block only where it is read', async () => {
  const { forwardProducts, flopsOf, withBackward, mergeProducts, limitSeconds } = await support('limit')
  const config = {
    ...{ model_type: 'gpt2', n_embd: 4, n_layer: 2, n_head: 2, vocab_size: 10 },
  }
  // Queries, keys and values of both layers; the rest of the last block for one row alone.
  const whole = 2 * 10 * (12 * 4) * 2
  const rest = 2 * 4 * (4 + 16 + 16)
  const products = forwardProducts(config, 10, 1)
  expect(flopsOf(products)).toBe(whole + rest * 10 + rest * 1)
  expect(flopsOf(withBackward(products))).toBe(3 * flopsOf(products))
  const merged = mergeProducts(products)
  expect(flopsOf(merged)).toBe(flopsOf(products))
  expect(limitSeconds([{ m: 1, n: 1, k: 1, count: 3 }], [0.5], 6).seconds).toBe(3)
})

describe('npm run bench -- --quick', () => {
  const run = (args: string[], env: Record<string, string | undefined> = {}) =>
    promisify(execFile)(
      process.execPath,
      [join(root, 'scripts', 'bench.mjs'), '--quick', '--no-install', '--no-native', ...args],
      {
        cwd: root,
        env: { ...process.env, PRUDENT_CACHE: folder, ...env },
      },
    )

  function rowsOf(stderr: string) {
    const results = /rows in (\S+)$/m.exec(stderr)?.[1] ?? ''
    const rows = readdirSync(results).flatMap((file) => readFileSync(join(results, file), 'utf8').trim().split('\n'))
    rmSync(results, { recursive: true })
    return rows.map((line) => JSON.parse(line))
  }

  test('says which peers are missing and measures what is there', async () => {
    const { stderr, stdout } = await run(['training/heads'], { PRUDENT_PEERS_PYTHON: '' })
    expect(stderr).toContain('NO PEER today')
    expect(stderr).toContain('NOT CHECKED')
    expect(rowsOf(stderr)).toEqual([expect.objectContaining({ row: 'ours first / ours forward', quick: true })])
    expect(stdout).toContain('### training/heads')
  }, 120_000)

  const peer = process.env.PRUDENT_PEERS_PYTHON ? test : test.skip
  peer(
    'training/score agrees with transformers',
    async () => {
      const { stderr } = await run(['training/score'])
      expect(rowsOf(stderr)).toHaveLength(5)
    },
    300_000,
  )
})
