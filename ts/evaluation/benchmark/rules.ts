/** One score from the scores of several heads; each rule gives a matrix of one column, so that accuracy is taken as for a head. */
import { mean, standardDeviation } from '../describe.js'
import { headOf, rowOf, type ScoreMatrix } from '../score-matrix.js'

export interface PairScores {
  chosen: ScoreMatrix
  rejected: ScoreMatrix
}

export interface Rule {
  /** As tables and summary.json name it. */
  name: string
  scores: PairScores
}

/**
 * mean, worst head and mean - lambda * std (ddof 1, the paper's sigma) of the raw scores, and the three of z-normalised scores, as the
 * leaderboard's offline ensembles have them: each head over all chosen and rejected scores, population std (ddof 0) in both places.
 */
export function ensembleRules(scores: PairScores, lambda: number): Rule[] {
  if (scores.chosen.heads === 1) return [{ name: 'mean', scores }]
  const lower = (name: string, of: PairScores, ddof: number): Rule => ({
    name,
    scores: reduced(of, (row) => mean(row) - lambda * standardDeviation(row, ddof)),
  })
  const z = normalised(scores)
  return [
    { name: 'mean', scores: reduced(scores, mean) },
    { name: 'worst', scores: reduced(scores, least) },
    lower(`mean - ${lambda} std`, scores, 1),
    { name: 'mean (z)', scores: reduced(z, mean) },
    { name: 'worst (z)', scores: reduced(z, least) },
    lower(`mean - ${lambda} std (z)`, z, 0),
  ]
}

const least = (row: Float32Array): number => row.reduce((low, value) => Math.min(low, value))

function reduced({ chosen, rejected }: PairScores, rule: (row: Float32Array) => number): PairScores {
  return { chosen: eachRow(chosen, rule), rejected: eachRow(rejected, rule) }
}

function eachRow(matrix: ScoreMatrix, rule: (row: Float32Array) => number): ScoreMatrix {
  const values = Float32Array.from({ length: matrix.rows }, (_, row) => rule(rowOf(matrix, row)))
  return { values, rows: matrix.rows, heads: 1 }
}

/** Each head shifted and scaled to mean 0 and population variance 1 over both sides; a head that never varies becomes 0. */
export function normalised({ chosen, rejected }: PairScores): PairScores {
  const scales = Array.from({ length: chosen.heads }, (_, head) => {
    const all = [...headOf(chosen, head), ...headOf(rejected, head)]
    return { centre: mean(all), deviation: standardDeviation(all, 0) || 1 }
  })
  const apply = (matrix: ScoreMatrix): ScoreMatrix => ({
    ...matrix,
    values: matrix.values.map((value, i) => {
      const { centre, deviation } = scales[i % matrix.heads] as { centre: number; deviation: number }
      return (value - centre) / deviation
    }),
  })
  return { chosen: apply(chosen), rejected: apply(rejected) }
}
