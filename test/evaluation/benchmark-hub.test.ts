/** `prudent evaluate` with hub ids, against a server that speaks the hub's API and has its data sets in their own layout. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { readRows } from '../../ts/data/rows.js'
import { PRIOR_SUBSETS } from '../../ts/evaluation/reward-bench.js'
import { type HubFile, type HubRepository, HubServer } from '../support/hub-server.js'
import { runCommand } from '../support/run-command.js'

const MODEL = 'test/cli/files/gemma-ensemble'
const LAPTOP = 'examples/laptop/data'
const [DATA_COMMIT, PRIOR_COMMIT, MODEL_COMMIT] = ['1', '2', '3'].map((digit) => digit.repeat(40))

type Values = Record<string, unknown>

/** Front matter as the hub's own READMEs have it: every split with the pattern of its files. */
function readme(splits: readonly string[]): HubFile {
  const files = splits.map((split) => `  - split: ${split}\n    path: data/${split}-*\n`)
  return {
    content: Buffer.from(`---\nconfigs:\n- config_name: default\n  data_files:\n${files.join('')}---\n# Data\n`),
  }
}

const shard = (split: string): string => `data/${split}-00000-of-00001.parquet`

function parquet(rows: readonly Values[]): HubFile {
  const names = Object.keys(rows[0] as Values)
  const columnData = names.map((name) => ({ name, data: rows.map((row) => row[name]) }))
  return { content: Buffer.from(parquetWriteBuffer({ columnData })), lfs: true }
}

async function valuesOf(file: string): Promise<Values[]> {
  const rows: Values[] = []
  for await (const { values } of readRows([file])) rows.push(values)
  return rows
}

/** allenai/reward-bench: `raw` is another split, and not to be scored. */
async function rewardBench(): Promise<HubRepository> {
  const rows = await valuesOf(join(LAPTOP, 'reward-bench', 'filtered.parquet'))
  const files = {
    'README.md': readme(['raw', 'filtered']),
    [shard('raw')]: parquet([{ ...rows[0], subset: 'never-scored' }]),
    [shard('filtered')]: { content: readFileSync(join(LAPTOP, 'reward-bench', 'filtered.parquet')), lfs: true },
  }
  return { type: 'dataset', name: 'allenai/reward-bench', commit: DATA_COMMIT as string, branch: 'main', files }
}

/** allenai/pref-test-sets: a split a subset, no `subset` column, and splits that the leaderboard does not average. */
async function priorSets(): Promise<HubRepository> {
  const rows = await valuesOf(join(LAPTOP, 'pref-test-sets', 'test.parquet'))
  const splits = [...PRIOR_SUBSETS, 'mtbench_human']
  const files: Record<string, HubFile> = { 'README.md': readme(splits) }
  for (const split of splits) {
    const own = split === 'mtbench_human' ? rows.slice(0, 3) : rows.filter(({ subset }) => subset === split)
    files[shard(split)] = parquet(own.map(({ prompt, chosen, rejected }) => ({ prompt, chosen, rejected })))
  }
  return { type: 'dataset', name: 'allenai/pref-test-sets', commit: PRIOR_COMMIT as string, branch: 'main', files }
}

function model(): HubRepository {
  const files = readdirSync(MODEL).map((name): [string, HubFile] => [
    name,
    { content: readFileSync(join(MODEL, name)), lfs: name.endsWith('.safetensors') },
  ])
  const repository = { name: 'owner/gemma-ensemble', commit: MODEL_COMMIT as string, branch: 'main' }
  return { type: 'model', ...repository, files: Object.fromEntries(files) }
}

let folder: string
let server: HubServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'prudent-evaluate-hub-'))
  server = await HubServer.start([await rewardBench(), await priorSets(), model()])
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true })
})

const evaluate = (kind: string, output: string, more: readonly string[], environment: Record<string, string> = {}) =>
  runCommand(['evaluate', kind, '--output', join(folder, output), ...more], {
    environment: {
      PRUDENT_OFFLINE: '0',
      HF_ENDPOINT: server.endpoint,
      HF_HUB_CACHE: join(folder, 'hub'),
      ...environment,
    },
  })
const summaryOf = (output: string) => JSON.parse(readFileSync(join(folder, output, 'summary.json'), 'utf8'))
const HUB = ['--data', 'allenai/reward-bench', '--prior-sets', 'allenai/pref-test-sets']
const ids = ['--model', 'owner/gemma-ensemble', ...HUB]

describe('rewardbench with hub ids', () => {
  let local: { code: number | null; stderr: string }
  beforeAll(async () => {
    const files = ['--data', join(LAPTOP, 'reward-bench'), '--prior-sets', join(LAPTOP, 'pref-test-sets')]
    local = await evaluate('rewardbench', 'local', ['--model', MODEL, ...files, '--name', 'ensemble'])
  }, 60_000)

  test('gives the numbers of the same rows in files, and says which commits they were', async () => {
    expect({ code: local.code, stderr: local.code === 0 ? '' : local.stderr }).toEqual({ code: 0, stderr: '' })
    const result = await evaluate('rewardbench', 'hub', [...ids, '--name', 'ensemble'])
    expect({ code: result.code, stderr: result.code === 0 ? '' : result.stderr }).toEqual({ code: 0, stderr: '' })
    const [own, expected] = [summaryOf('hub'), summaryOf('local')]
    expect(own.entries).toEqual(expected.entries)
    expect(own.pairs).toEqual(expected.pairs)
    expect(own.revisions).toEqual({ data: DATA_COMMIT, priorSets: PRIOR_COMMIT })
    expect(expected.revisions).toEqual({ data: null, priorSets: null })
  }, 60_000)

  test('asks for the files of its splits and for no other', () => {
    const asked = server.requests.map(({ path }) => decodeURIComponent(path))
    expect(asked.some((path) => path.includes('filtered-00000'))).toBe(true)
    expect(asked.some((path) => path.includes('raw-00000'))).toBe(false)
    expect(asked.some((path) => path.includes('mtbench_human-00000'))).toBe(false)
  })

  test('offline, the cache is enough; another data set is not there and named', async () => {
    const before = server.requests.length
    const again = await evaluate('rewardbench', 'offline', [...ids, '--name', 'ensemble'], { PRUDENT_OFFLINE: '1' })
    expect({ code: again.code, stderr: again.code === 0 ? '' : again.stderr }).toEqual({ code: 0, stderr: '' })
    expect(summaryOf('offline').entries).toEqual(summaryOf('hub').entries)
    expect(server.requests.length).toBe(before)
    const other = await evaluate('rewardbench', 'other', ['--model', MODEL, '--data', 'owner/none'], {
      PRUDENT_OFFLINE: '1',
    })
    expect({ code: other.code, stderr: other.stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/E_OFFLINE.*owner\/none/),
    })
  }, 60_000)

  test.each([
    ['a data set that the hub does not have', ['--data', 'owner/none'], /error E_\w+: .*owner\/none/],
    ['a revision that the data set does not have', [...HUB, '--data-revision', 'v9'], /error E_\w+: .*v9/],
    ['a split that the data set does not have', [...HUB, '--split', 'odd'], /error E_NOT_FOUND: .*no split "odd"/],
  ])('%s is refused by name', async (_, more, message) => {
    const result = await evaluate('rewardbench', 'refused', ['--model', MODEL, ...more])
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 1, stderr: expect.stringMatching(message) })
  })
})

test('variance takes the same ids', async () => {
  const result = await evaluate('variance', 'variance', [...ids, '--bootstrap', '20'])
  expect({ code: result.code, stderr: result.code === 0 ? '' : result.stderr }).toEqual({ code: 0, stderr: '' })
  expect(summaryOf('variance').revisions).toEqual({ data: DATA_COMMIT, priorSets: PRIOR_COMMIT })
}, 60_000)
