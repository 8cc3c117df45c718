import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readPairs } from '../../ts/data/preferences.js'
import { readSource } from '../../ts/data/sources.js'
import { readTexts } from '../../ts/data/texts.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'
import { sectionOf } from '../../ts/evaluation/reward-bench.js'
import { responseText } from '../../ts/study/inputs.js'
import { createTrueReward, loadTrueReward } from '../../ts/study/world/true-reward.js'

const DATA = 'examples/laptop/data'
let made = ''
beforeAll(() => {
  made = mkdtempSync(path.join(tmpdir(), 'prudent-data-'))
  execFileSync(process.execPath, ['scripts/make-sample-data.mjs', '--output', made])
})
afterAll(() => rmSync(made, { recursive: true, force: true }))

const filesBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(path.join(folder, name)).isFile())
    .sort()

describe('sample data', () => {
  test('the script makes the committed bytes', () => {
    expect(filesBelow(made)).toEqual(filesBelow(DATA))
    for (const name of filesBelow(made)) {
      expect({ name, same: readFileSync(path.join(made, name)).equals(readFileSync(path.join(DATA, name))) }).toEqual({
        name,
        same: true,
      })
    }
  })

  test('small enough to commit', () => {
    const sizes = filesBelow(DATA).map((name) => statSync(path.join(DATA, name)).size)
    expect(Math.max(...sizes)).toBeLessThan(1_000_000)
    expect(sizes.reduce((a, b) => a + b)).toBeLessThan(2_000_000)
  })

  test('another seed makes other texts', () => {
    const other = mkdtempSync(path.join(tmpdir(), 'prudent-data-'))
    execFileSync(process.execPath, ['scripts/make-sample-data.mjs', '--output', other, '--seed', '21'])
    const name = 'preferences/train.parquet'
    expect(readFileSync(path.join(other, name)).equals(readFileSync(path.join(made, name)))).toBe(false)
    rmSync(other, { recursive: true, force: true })
  })

  test('labels follow Bradley-Terry: the better response is chosen as often as its probability says', async () => {
    const truth = loadTrueReward(`${DATA}/true-reward.json`)
    const { pairs, report } = await readPairs(readSource({ path: `${DATA}/preferences/train.parquet` }))
    expect(report.used).toBe(report.rows)
    const gaps = pairs.map(
      (pair) => truth.reward(responseText(pair.chosen)) - truth.reward(responseText(pair.rejected)),
    )
    const expected = gaps.reduce((sum, gap) => sum + 1 / (1 + Math.exp(-Math.abs(gap))), 0) / gaps.length
    const observed = gaps.filter((gap) => gap > 0).length / gaps.length
    // Standard error of a share over 6,600 pairs: 0.006.
    expect(Math.abs(observed - expected)).toBeLessThan(0.02)
    expect(observed).toBeLessThan(0.95)
  })

  test('scarce styles: at most 0.5 % of the preference responses each, about half of the reviews', async () => {
    const truth = loadTrueReward(`${DATA}/true-reward.json`)
    const { pairs } = await readPairs(readSource({ path: `${DATA}/preferences/train.parquet` }))
    const counts = new Map<string | null, number>()
    const scarce = new Set<string | null>()
    const responses = pairs.flatMap((pair) => [responseText(pair.chosen), responseText(pair.rejected)])
    for (const text of responses) {
      const style = truth.style(text)
      counts.set(style, (counts.get(style) ?? 0) + 1)
      if (truth.isScarce(text)) scarce.add(style)
    }
    expect(scarce.size).toBeGreaterThanOrEqual(3)
    for (const style of scarce) expect((counts.get(style) ?? 0) / responses.length).toBeLessThan(0.005)
    const { texts } = await readTexts(readSource({ path: `${DATA}/imdb/train.parquet` }))
    const share = texts.filter((text) => truth.isScarce(text)).length / texts.length
    expect(share).toBeGreaterThan(0.4)
    expect(share).toBeLessThan(0.6)
  })

  test("the benchmark has RewardBench's subsets and its chosen side is the better one", async () => {
    const truth = loadTrueReward(`${DATA}/true-reward.json`)
    const { pairs } = await readPairs(readSource({ path: `${DATA}/reward-bench/filtered.parquet` }))
    expect(new Set(pairs.map((pair) => sectionOf(String(pair.row.values.subset))))).toEqual(
      new Set(['Chat', 'Chat Hard', 'Safety', 'Reasoning']),
    )
    expect(
      pairs.every((pair) => truth.reward(responseText(pair.chosen)) > truth.reward(responseText(pair.rejected))),
    ).toBe(true)
  })

  test('two different tokenizers, both lossless on reviews', async () => {
    const { texts } = await readTexts(readSource({ path: `${DATA}/imdb/test.parquet`, limit: 50 }))
    const loaded = await Promise.all(['policy', 'scorer'].map((name) => Tokenizer.load(`${DATA}/tokenizers/${name}`)))
    for (const tokenizer of loaded) {
      const rows = await tokenizer.encodeBatch(texts)
      expect(await tokenizer.decodeBatch(rows, { skipSpecialTokens: true })).toEqual(texts)
    }
    const [policy, scorer] = loaded as [Tokenizer, Tokenizer]
    expect(await policy.encode('the warm moon')).not.toEqual(await scorer.encode('the warm moon'))
    expect(scorer.addsBos).toBe(true)
    expect(policy.addsBos).toBe(false)
  })
})

test('the true reward is a function of the words alone', () => {
  const truth = createTrueReward({
    description: '',
    scale: 2,
    styles: [
      { name: 'a', scarce: false, share: 1, words: ['warm'] },
      { name: 'b', scarce: true, share: 0, words: ['cold'] },
    ],
    weights: { warm: 1, cold: -3 },
  })
  expect(truth.reward('The warm, WARM sea')).toBeCloseTo(1)
  expect(truth.reward('')).toBe(0)
  expect(truth.style('cold cold warm')).toBe('b')
  expect(truth.isScarce('cold')).toBe(true)
  expect(truth.style('sea')).toBeNull()
})
