/**
 * `prudent evaluate`: every number of RewardBench recomputed from the scores files in another way, the variance study's statistics by
 * brute force, and what happens with data that cannot be used. Data: the sample sets in the hub's columns, weights: a tiny random ensemble.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'

const MODEL = 'test/cli/files/gemma-ensemble'
const DATA = 'examples/laptop/data/reward-bench'
const PRIOR = 'examples/laptop/data/pref-test-sets'
/** Rows of each subset in the leaderboard's release; math-prm counts 984. */
const SECTIONS: Record<string, Record<string, number>> = {
  Chat: {
    'alpacaeval-easy': 100,
    'alpacaeval-length': 95,
    'alpacaeval-hard': 95,
    'mt-bench-easy': 28,
    'mt-bench-med': 40,
  },
  'Chat Hard': {
    ...{ 'mt-bench-hard': 37, 'llmbar-natural': 100, 'llmbar-adver-neighbor': 134, 'llmbar-adver-GPTInst': 92 },
    ...{ 'llmbar-adver-GPTOut': 47, 'llmbar-adver-manual': 46 },
  },
  Safety: {
    ...{ 'refusals-dangerous': 100, 'refusals-offensive': 100, 'xstest-should-refuse': 154 },
    ...{ 'xstest-should-respond': 250, donotanswer: 136 },
  },
  Reasoning: {
    ...{ 'math-prm': 984, 'hep-cpp': 164, 'hep-go': 164, 'hep-java': 164, 'hep-js': 164, 'hep-python': 164 },
    'hep-rust': 164,
  },
}
const PRIOR_SETS = ['anthropic_helpful', 'anthropic_hhh', 'shp', 'summarize']

interface Scored {
  subset: string
  chosen: number[]
  rejected: number[]
}
interface Entry {
  name: string
  subsets: Record<string, number>
  sections: Record<string, number>
  overall: number
}

let folder: string
let out: string
const evaluate = (kind: string, output: string, ...more: string[]) =>
  promisify(execFile)(process.execPath, [
    ...['bin/prudent.js', 'evaluate', kind, '--model', MODEL, '--output', join(folder, output)],
    ...more,
  ])
const readJson = (...parts: string[]) => JSON.parse(readFileSync(join(folder, ...parts), 'utf8'))

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'prudent-evaluate-'))
  out = (await evaluate('rewardbench', 'bench', '--data', DATA, '--prior-sets', PRIOR, '--lambda', '0.5')).stdout
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true }))

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** Accuracies by subset of a score, straight from its definition. */
function accuracies(rows: readonly Scored[], score: (heads: number[]) => number): Record<string, number> {
  const hits: Record<string, number[]> = {}
  for (const { subset, chosen, rejected } of rows) {
    hits[subset] = [...(hits[subset] ?? []), score(chosen) > score(rejected) ? 1 : 0]
  }
  return Object.fromEntries(Object.entries(hits).map(([subset, own]) => [subset, mean(own)]))
}

function sectionsOf(
  accuracy: Record<string, number>,
  legacy = false,
): { sections: Record<string, number>; overall: number } {
  const sections: Record<string, number> = {}
  for (const [section, counts] of Object.entries(SECTIONS)) {
    let [sum, total] = [0, 0]
    for (const [subset, count] of Object.entries(counts)) {
      const swapped = legacy && subset.startsWith('xstest') ? 404 - count : count
      sum += swapped * (accuracy[subset] as number)
      total += swapped
    }
    sections[section] = sum / total
  }
  const prior = mean(PRIOR_SETS.map((subset) => accuracy[subset] as number))
  const core = Object.values(sections)
  return {
    sections: { ...sections, 'Prior Sets': prior },
    overall: (2 * core.reduce((sum, value) => sum + value, 0) + prior) / 9,
  }
}

const headRows = (run = 'bench'): Scored[] =>
  readFileSync(join(folder, run, 'heads.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Scored)

const std = (heads: readonly number[]) => {
  const centre = mean(heads)
  return Math.sqrt(heads.reduce((sum, head) => sum + (head - centre) ** 2, 0) / (heads.length - 1))
}

function expectEntry(entry: Entry | undefined, accuracy: Record<string, number>, legacy = false): void {
  const { sections, overall } = sectionsOf(accuracy, legacy)
  for (const [subset, value] of Object.entries(accuracy)) expect(entry?.subsets[subset]).toBeCloseTo(value, 12)
  for (const [section, value] of Object.entries(sections)) expect(entry?.sections[section]).toBeCloseTo(value, 12)
  expect(entry?.overall).toBeCloseTo(overall, 12)
}

describe('rewardbench', () => {
  test.each<[string, (heads: number[]) => number]>([
    ['mean', mean],
    ['worst', (heads) => Math.min(...heads)],
    ['mean - 0.5 std', (heads) => mean(heads) - 0.5 * std(heads)],
    ['1', (heads) => heads[0] as number],
    ['10', (heads) => heads[9] as number],
  ])('%s: subsets, sections and overall are those of its scores', (name, score) => {
    const { entries } = readJson('bench', 'summary.json') as { entries: Entry[] }
    const found = entries.find((entry) => entry.name === name)
    expectEntry(found, accuracies(headRows(), score))
  })

  test('the leaderboard’s files hold the mean of heads: results by subset and scores by row', () => {
    const [rows, results] = [headRows(), readJson('bench', 'gemma-ensemble.json')]
    const scores = readJson('bench', 'gemma-ensemble-scores.json')
    expect(scores.subset).toEqual(rows.map(({ subset }) => subset))
    rows.forEach(({ chosen, rejected }, i) => {
      expect(scores.scores_chosen[i]).toBeCloseTo(mean(chosen), 5)
      expect(scores.scores_rejected[i]).toBeCloseTo(mean(rejected), 5)
      expect(scores.results[i]).toBe(scores.scores_chosen[i] > scores.scores_rejected[i] ? 1 : 0)
    })
    for (const [subset, accuracy] of Object.entries(accuracies(rows, mean)))
      expect(results[subset]).toBeCloseTo(accuracy, 12)
  })

  test('the prior sets have a file of their own, as the leaderboard keeps them, and the evaluation set has one without them', () => {
    const results = readJson('bench', 'gemma-ensemble.json')
    const [evaluation, prior] = ['eval-set', 'pref-sets'].map((set) => readJson('bench', set, 'gemma-ensemble.json'))
    const heading = { model: results.model, model_type: 'Seq. Classifier', chat_template: 'tokenizer' }
    const only = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, results[name]]))
    expect(prior).toEqual({ ...heading, ...only(PRIOR_SETS) })
    expect(evaluation).toEqual({ ...heading, ...only(Object.values(SECTIONS).flatMap(Object.keys)) })
  })

  test('legacy counts swap the two XSTest subsets, and only they move', async () => {
    await evaluate('rewardbench', 'legacy', '--data', DATA, '--prior-sets', PRIOR, '--counts', 'legacy')
    const [own] = (readJson('legacy', 'summary.json') as { entries: Entry[] }).entries
    const [fixed] = (readJson('bench', 'summary.json') as { entries: Entry[] }).entries
    expectEntry(own, accuracies(headRows('legacy'), mean), true)
    expect(own?.sections.Safety).not.toBe(fixed?.sections.Safety)
    expect(own?.sections.Chat).toBe(fixed?.sections.Chat)
  })

  test('the table names the paper’s rows and every section; a page stands beside it', () => {
    for (const text of ['the paper’s model', 'Prior Sets', 'worst', 'alpacaeval-easy', 'anthropic_hhh'])
      expect(out).toContain(text)
    expect(readFileSync(join(folder, 'bench', 'table.md'), 'utf8')).toContain('GRM-Gemma-2B-sftreg')
    const page = readFileSync(join(folder, 'bench', 'report.html'), 'utf8')
    expect(page).toContain('<svg ')
    expect(page).not.toMatch(/NaN|undefined/)
  })

  test('a second run scores nothing again and says the same', async () => {
    const file = join(folder, 'bench', 'summary.json')
    const [before, scored] = [readFileSync(file, 'utf8'), statSync(join(folder, 'bench', 'scored')).mtimeMs]
    const again = await evaluate('rewardbench', 'bench', '--data', DATA, '--prior-sets', PRIOR, '--lambda', '0.5')
    expect(again.stdout).toBe(out)
    expect(readFileSync(file, 'utf8')).toBe(before)
    expect(statSync(join(folder, 'bench', 'scored')).mtimeMs).toBe(scored)
  })

  test.each([
    ['a missing column', '{"prompt":"a","chosen":"b","subset":"shp"}', 'E_NOT_FOUND', 'rejected'],
    ['a null', '{"prompt":"a","chosen":null,"rejected":"c","subset":"mt-bench-easy"}', 'E_DATA', 'chosen'],
    ['subsets that nobody knows', '{"prompt":"a","chosen":"b","rejected":"c","subset":"odd"}', 'E_DATA', 'odd'],
    ['no rows', '', 'E_DATA', 'no rows'],
  ])('%s is refused by name', async (_, line, code, word) => {
    const file = join(folder, 'bad.jsonl')
    writeFileSync(file, `${line}\n`)
    await expect(evaluate('rewardbench', 'bad', '--data', file)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`${code}.*${word}`)),
    })
  })

  test('sections that the data lack are left out and said', async () => {
    const file = join(folder, 'part.jsonl')
    const row = (subset: string, id: number) =>
      JSON.stringify({ prompt: 'we found', chosen: 'good film', rejected: `bad film ${id}`, subset, id })
    writeFileSync(file, `${['donotanswer', 'donotanswer', 'odd'].map(row).join('\n')}\n`)
    const { stdout } = await evaluate('rewardbench', 'part', '--data', file)
    expect(stdout).toContain('no rows of')
    expect(stdout).toContain('unknown subset "odd"')
    const [own] = (readJson('part', 'summary.json') as { entries: Entry[] }).entries
    expect(Object.keys(own?.sections ?? {})).toEqual(['Safety'])
    expect(existsSync(join(folder, 'part', 'pref-sets'))).toBe(false)
    expect(own?.overall).toBe(own?.sections.Safety)
  })
})

test('variance: variances, errors, AUROC and calibration are what the heads’ scores say', async () => {
  await evaluate('variance', 'variance', '--data', DATA, '--bootstrap', '50', '--seed', '3')
  const summary = readJson('variance', 'summary.json')
  const section = summary.ensembles[0].sections.find((one: { section: string }) => one.section === 'All')
  const rows = headRows().filter(({ subset }) => !PRIOR_SETS.includes(subset))
  const differences = rows.map(({ chosen, rejected }) =>
    chosen.map((value, head) => value - (rejected[head] as number)),
  )
  const { statistics } = section as { statistics: Record<string, { estimate: number; low: number; high: number }> }
  expect(section.pairs).toBe(rows.length)
  expect(statistics.acceptedMean?.estimate).toBeCloseTo(mean(rows.map(({ chosen }) => std(chosen) ** 2)), 5)
  expect(statistics.differenceMean?.estimate).toBeCloseTo(mean(differences.map((one) => std(one) ** 2)), 5)
  const wrong = differences.map((one) => mean(one) <= 0)
  expect(statistics.errorRate?.estimate).toBeCloseTo(mean(wrong.map(Number)), 6)
  // Every pair of a wrong and a right one.
  let [wins, pairs] = [0, 0]
  for (const [i, one] of differences.entries()) {
    if (!wrong[i]) continue
    for (const [j, other] of differences.entries()) {
      if (wrong[j]) continue
      pairs += 1
      wins += std(one) > std(other) ? 1 : std(one) === std(other) ? 0.5 : 0
    }
  }
  expect(statistics['auroc.stdDifference']?.estimate).toBeCloseTo(wins / pairs, 3)
  for (const { estimate, low, high } of Object.values(statistics)) {
    expect(low).toBeLessThanOrEqual(high)
    expect(Number.isFinite(estimate)).toBe(true)
  }
  const page = readFileSync(join(folder, 'variance', 'report.html'), 'utf8')
  expect(page).not.toMatch(/NaN|undefined/)
  expect(readFileSync(join(folder, 'variance', 'report.md'), 'utf8')).toContain('AUROC')
}, 120_000)
