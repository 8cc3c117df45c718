import { describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { bigramPerplexity } from '../../ts/evaluation/bigram.js'
import { variance } from '../../ts/evaluation/describe.js'
import { accuracyPerHead, benchmarkAccuracy, SECTIONS, sectionOf } from '../../ts/evaluation/reward-bench.js'
import { type ScoreMatrix, scoreMatrix } from '../../ts/evaluation/score-matrix.js'
import { centred, headMeans, sigmaOverHeads, sigmaQuality, withinGroupShare } from '../../ts/evaluation/sigma.js'
import { sectionVariances } from '../../ts/evaluation/variances.js'

const matrix = (rows: number[][]): ScoreMatrix => scoreMatrix(Float32Array.from(rows.flat()), rows[0]?.length ?? 1)

describe('pair accuracy', () => {
  test('per head; a tie is wrong', () => {
    const [chosen, rejected] = [
      matrix([
        [1, 2],
        [0, 3],
        [5, 1],
      ]),
      matrix([
        [0, 2],
        [1, 1],
        [4, 0],
      ]),
    ]
    expect(accuracyPerHead(chosen, rejected)).toEqual([2 / 3, 2 / 3])
    expect(accuracyPerHead(chosen, rejected, [0])).toEqual([1, 0])
  })
  test('other shapes are refused', () => {
    expect(() => accuracyPerHead(matrix([[1]]), matrix([[1, 2]]))).toThrow(/E_SHAPE|expected/)
  })
})

/** One pair a subset; `right` names the subsets that head 0 gets right, head 1 the others. */
function benchmark(subsets: string[], right: string[]) {
  const chosen = matrix(subsets.map((subset) => (right.includes(subset) ? [1, -1] : [-1, 1])))
  const rejected = matrix(subsets.map(() => [0, 0]))
  return benchmarkAccuracy(chosen, rejected, subsets)
}

describe('RewardBench', () => {
  const sectionAccuracy = (result: ReturnType<typeof benchmark>, section: string) =>
    result.sections.find((entry) => entry.section === section)?.heads[0]

  test("a section is the mean of its subsets, weighted by RewardBench's counts", () => {
    const subsets = Object.keys(SECTIONS.Reasoning ?? {})
    expect(sectionAccuracy(benchmark(subsets, ['math-prm']), 'Reasoning')).toBeCloseTo(0.5)
    expect(sectionAccuracy(benchmark(subsets, ['hep-go']), 'Reasoning')).toBeCloseTo(164 / 1968)
    const chat = Object.keys(SECTIONS.Chat ?? {})
    expect(sectionAccuracy(benchmark(chat, ['mt-bench-easy']), 'Chat')).toBeCloseTo(28 / 358)
  })
  test('XSTest weights: fixed and legacy', () => {
    const subsets = Object.keys(SECTIONS.Safety ?? {})
    const chosen = matrix(subsets.map((subset) => [subset === 'xstest-should-respond' ? 1 : -1]))
    const rejected = matrix(subsets.map(() => [0]))
    const safety = (xstest: 'fixed' | 'legacy') =>
      benchmarkAccuracy(chosen, rejected, subsets, { xstest }).sections[0]?.heads[0]
    expect(safety('fixed')).toBeCloseTo(250 / 740)
    expect(safety('legacy')).toBeCloseTo(154 / 740)
  })
  test('prior sets count half, and sections that are missing not at all', () => {
    const all = [...Object.values(SECTIONS).flatMap((section) => Object.keys(section)), 'shp', 'summarize']
    expect(benchmark(all, ['shp', 'summarize']).overall[0]).toBeCloseTo(1 / 9)
    expect(benchmark(all, ['shp']).overall[0]).toBeCloseTo(0.5 / 9)
    expect(benchmark(['hep-go', 'shp'], ['shp']).overall[0]).toBeCloseTo(1 / 3)
    expect(benchmark(['hep-go', 'shp'], ['shp']).overall[1]).toBeCloseTo(2 / 3)
  })
  test('an unknown subset is an error that names it', () => expect(() => sectionOf('hep-cobol')).toThrow(/hep-cobol/))
})

describe('variances over heads', () => {
  test('ddof 1, per section', () => {
    const chosen = matrix([
      [1, 3],
      [2, 2],
    ])
    const rejected = matrix([
      [1, 1],
      [0, 4],
    ])
    const [chat, reasoning] = sectionVariances(chosen, rejected, ['mt-bench-med', 'hep-js'])
    expect(chat?.accepted.mean).toBeCloseTo(2)
    expect(chat?.difference.mean).toBeCloseTo(2)
    expect(reasoning?.accepted.mean).toBeCloseTo(0)
    expect(reasoning?.difference.mean).toBeCloseTo(8)
  })
})

describe('sigma', () => {
  const offsets = [5, -5, 0, 2]
  const random = Random.from(1, 'scores')
  const prompts = Array.from({ length: 400 }, (_, row) => `prompt ${row % 20}`)
  const scarce = prompts.map((_, row) => row % 2 === 1)
  const truth = prompts.map(() => random.normal())
  /** Heads err about the truth by three times as much on scarce rows, and each has an offset of its own. */
  const scores = matrix(
    truth.map((value, row) => offsets.map((offset) => offset + value + (scarce[row] ? 3 : 1) * random.normal())),
  )
  const quality = (center: 'none' | 'reference' | 'prompt') => sigmaQuality({ scores, center, prompts, truth, scarce })

  test('centring takes the offsets away, which hide the disagreement', () => {
    expect(headMeans(centred(scores, 'reference')).every((value) => Math.abs(value) < 1e-4)).toBe(true)
    expect(quality('reference').cv).toBeGreaterThan(1.5 * quality('none').cv)
    expect(quality('reference').scarceCommonRatio).toBeGreaterThan(2)
    expect(quality('none').scarceCommonRatio).toBeLessThan(2)
    expect(quality('reference').errorCorrelation).toBeGreaterThan(0.2)
  })
  test('prompt centring: heads have mean zero on every prompt', () => {
    const rows = centred(scores, 'prompt', prompts)
    const first = prompts.flatMap((prompt, row) => (prompt === 'prompt 3' ? [rows.values[row * 4 + 2] as number] : []))
    expect(Math.abs(first.reduce((a, b) => a + b))).toBeLessThan(1e-3)
  })
  test('is the sample standard deviation', () => {
    expect(sigmaOverHeads(matrix([[1, 2, 4]]))[0]).toBeCloseTo(Math.sqrt(variance([1, 2, 4])))
  })
  test('the share within groups is 1 without group effects and 0 with nothing else', () => {
    const groups = Array.from({ length: 3000 }, (_, i) => String(i % 30))
    const noise = groups.map(() => random.normal())
    expect(withinGroupShare(noise, groups)).toBeGreaterThan(0.9)
    expect(withinGroupShare(groups.map(Number), groups)).toBe(0)
  })
})

test('the bigram bar: perplexity of a known chain, and of uniform tokens', () => {
  const random = Random.from(9, 'tokens')
  const uniform = (rows: number) =>
    Array.from({ length: rows }, () => Int32Array.from({ length: 50 }, () => random.integer(8)))
  const value = bigramPerplexity(uniform(400), uniform(50), { vocabSize: 8 })
  expect(value).toBeGreaterThan(7.8)
  expect(value).toBeLessThan(8.2)
  const cycle = (start: number) => Int32Array.from({ length: 50 }, (_, i) => (start + i) % 8)
  expect(bigramPerplexity([cycle(0), cycle(3)], [cycle(5)], { vocabSize: 8 })).toBeLessThan(1.05)
})
