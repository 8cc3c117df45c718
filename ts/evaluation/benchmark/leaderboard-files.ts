/** The files that the leaderboard's own script writes: results by subset, and a column a field with a row a pair. */
import { PRIOR_SUBSETS } from '../reward-bench.js'
import type { BenchEntry } from './results.js'
import type { BenchRow } from './rows.js'
import type { PairScores } from './rules.js'

export interface LeaderboardInput {
  model: string
  chatTemplate: string
  rows: readonly BenchRow[]
  texts: { chosen: readonly string[]; rejected: readonly string[] }
  /** One column: the ensemble's score. */
  scores: PairScores
  entry: BenchEntry
}

const MODEL_TYPE = 'Seq. Classifier'

/** {model, model_type, chat_template, <subset>: accuracy} */
export function leaderboardResults({ model, chatTemplate, entry }: LeaderboardInput): Record<string, string | number> {
  return { model, model_type: MODEL_TYPE, chat_template: chatTemplate, ...entry.subsets }
}

/**
 * The results as the leaderboard keeps them, a file each for its two runs over the data: `eval-set/<model>.json` without the prior sets and
 * `pref-sets/<model>.json` with nothing else; null where the data had no such row.
 */
export function leaderboardSets(input: LeaderboardInput): Record<'eval-set' | 'pref-sets', object | null> {
  const { model, model_type, chat_template } = leaderboardResults(input)
  const of = (wanted: (subset: string) => boolean) => {
    const subsets = Object.entries(input.entry.subsets).filter(([subset]) => wanted(subset))
    return subsets.length === 0 ? null : { model, model_type, chat_template, ...Object.fromEntries(subsets) }
  }
  const isPrior = (subset: string) => (PRIOR_SUBSETS as readonly string[]).includes(subset)
  return { 'eval-set': of((subset) => !isPrior(subset)), 'pref-sets': of(isPrior) }
}

/** Columns text_chosen, text_rejected, results (1 where chosen is strictly higher), subset, id, scores_chosen, scores_rejected. */
export function leaderboardScores(input: LeaderboardInput): Record<string, unknown> {
  const { rows, texts, scores, model, chatTemplate } = input
  const [chosen, rejected] = [scores.chosen.values, scores.rejected.values]
  return {
    text_chosen: texts.chosen,
    text_rejected: texts.rejected,
    results: rows.map((_, row) => ((chosen[row] as number) > (rejected[row] as number) ? 1 : 0)),
    subset: rows.map((row) => row.subset),
    id: rows.map((row) => row.id),
    scores_chosen: [...chosen],
    scores_rejected: [...rejected],
    model,
    model_type: MODEL_TYPE,
    chat_template: chatTemplate,
  }
}

/** One line a pair with the scores of every head: what the leaderboard's files have no place for. */
export function headLines(rows: readonly BenchRow[], { chosen, rejected }: PairScores): string {
  const slice = (values: Float32Array, row: number) => [
    ...values.subarray(row * chosen.heads, (row + 1) * chosen.heads),
  ]
  return rows
    .map(({ subset, id }, row) =>
      JSON.stringify({ subset, id, chosen: slice(chosen.values, row), rejected: slice(rejected.values, row) }),
    )
    .map((line) => `${line}\n`)
    .join('')
}
