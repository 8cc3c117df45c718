/** Accuracies of heads, of rules over them and of a single model, by subset and section. */
import { accuracyPerHead, benchmarkAccuracy, groupRows, isKnownSubset, type XstestWeights } from '../reward-bench.js'
import { selectRows } from '../score-matrix.js'
import type { BenchRow } from './rows.js'
import { ensembleRules, type PairScores } from './rules.js'

export interface BenchEntry {
  name: string
  kind: 'rule' | 'head' | 'single'
  subsets: Record<string, number>
  sections: Record<string, number>
  overall: number
}

export interface BenchResults {
  /** Pairs a subset, in the order of the data. */
  pairs: Record<string, number>
  entries: BenchEntry[]
}

export interface BenchScores {
  ensemble: PairScores
  /** What the ensemble's columns are called. */
  headNames: readonly string[]
  single?: { name: string; scores: PairScores } | undefined
}

/** Entries in the order of the table: rules (the first is the mean of heads), heads, the single model. */
export function benchResults(
  rows: readonly BenchRow[],
  scores: BenchScores,
  options: { lambda: number; counts: XstestWeights },
): BenchResults {
  const subsets = rows.map((row) => row.subset)
  const of = (kind: BenchEntry['kind'], names: readonly string[], pairs: PairScores) =>
    entriesOf(kind, names, pairs, subsets, options.counts)
  const rules = ensembleRules(scores.ensemble, options.lambda)
  return {
    pairs: Object.fromEntries([...groupRows(subsets)].map(([subset, members]) => [subset, members.length])),
    entries: [
      ...rules.flatMap((rule) => of('rule', [rule.name], rule.scores)),
      ...of('head', scores.headNames, scores.ensemble),
      ...(scores.single ? of('single', [scores.single.name], scores.single.scores) : []),
    ],
  }
}

function entriesOf(
  kind: BenchEntry['kind'],
  names: readonly string[],
  { chosen, rejected }: PairScores,
  subsets: readonly string[],
  xstest: XstestWeights,
): BenchEntry[] {
  const perSubset = [...groupRows(subsets)].map(([subset, members]) => ({
    subset,
    heads: accuracyPerHead(chosen, rejected, members),
  }))
  const known = subsets.flatMap((subset, row) => (isKnownSubset(subset) ? [row] : []))
  const { sections, overall } = benchmarkAccuracy(
    selectRows(chosen, known),
    selectRows(rejected, known),
    known.map((row) => subsets[row] as string),
    { xstest },
  )
  return names.map((name, head) => ({
    name,
    kind,
    subsets: Object.fromEntries(perSubset.map((entry) => [entry.subset, entry.heads[head] as number])),
    sections: Object.fromEntries(sections.map((entry) => [entry.section, entry.heads[head] as number])),
    overall: overall[head] as number,
  }))
}
