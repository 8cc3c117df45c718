/** What the evaluations share: the benchmark's rows, and the scores of models on them. */
import { basename, join, resolve } from 'node:path'
import { type BenchRow, readBenchmark, readPriorSets } from '../../evaluation/benchmark/rows.js'
import { type ScoredModel, scoreModel } from '../../evaluation/benchmark/score-models.js'
import type { EvaluateOptions } from '../evaluate.js'
import { unless } from '../support/command-line.js'
import type { Session } from '../support/session.js'

export interface Benchmark {
  rows: BenchRow[]
  warnings: string[]
  revisions: { data: string | null; priorSets: string | null }
}

type BenchSource = Pick<EvaluateOptions, 'data' | 'split' | 'dataRevision' | 'priorSets'>

export async function readBenchData({ signal }: Pick<Session, 'signal'>, options: BenchSource): Promise<Benchmark> {
  const source = { path: options.data, split: options.split, revision: options.dataRevision }
  const core = await readBenchmark(source, { signal })
  const prior = options.priorSets === undefined ? null : await readPriorSets({ path: options.priorSets }, { signal })
  const warnings = [...core.warnings, ...(prior?.warnings ?? [])]
  return {
    rows: [...core.rows, ...(prior?.rows ?? [])],
    warnings,
    revisions: { data: core.revision, priorSets: prior?.revision ?? null },
  }
}

/** One model after the other, so that one is in memory. */
export async function scoreModels(
  session: Session,
  options: EvaluateOptions,
  benchmark: Benchmark,
  paths: readonly string[],
): Promise<ScoredModel[]> {
  const scored: ScoredModel[] = []
  for (const path of paths) {
    const progress = session.progress(`scored by ${modelName(path)}`, benchmark.rows.length)
    const warn = (line: string) => {
      benchmark.warnings.push(line)
      session.note(`warning: ${line}`)
    }
    const update = (_model: string, done: number, total: number) => progress.update(done, total)
    const cache = options.scores ?? join(options.output, 'scored')
    try {
      const { signal } = session
      scored.push(await scoreModel(path, benchmark.rows, { ...options, cache, signal, progress: update, warn }))
    } finally {
      progress.stop()
    }
  }
  return scored
}

export const modelName = (path: string): string => basename(resolve(path))

/** What the columns of an ensemble are called: heads by number, with the model where there are several. */
export function headNames(models: readonly ScoredModel[]): string[] {
  const [first, ...others] = models
  const numbers = (heads: number) => Array.from({ length: heads }, (_, head) => String(head + 1))
  if (others.length === 0) return numbers(first?.heads ?? 0)
  return models.flatMap(({ path, heads }, model) =>
    heads === 1
      ? [`${model + 1}: ${modelName(path)}`]
      : numbers(heads).map((head) => `${model + 1}: ${modelName(path)} ${head}`),
  )
}

/** The shared part of the command that makes the same once more. */
export const scoringOptions = (options: EvaluateOptions) => ({
  model: options.model,
  data: options.data,
  split: options.split,
  'data-revision': options.dataRevision,
  'prior-sets': options.priorSets,
  revision: options.revision,
  tokenizer: options.tokenizer,
  dtype: unless('float32', options.dtype),
  device: unless('cpu', options.device),
  'max-length': unless(2048, options.maxLength),
})

/** Provenance of a group of models, for summary.json. */
export const describeModels = (models: readonly ScoredModel[]) =>
  models.map(({ path, heads, chatTemplate, truncated }) => ({ path, heads, chatTemplate, truncated }))
