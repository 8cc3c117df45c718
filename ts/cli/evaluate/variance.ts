import { join } from 'node:path'
import { argumentError } from '../../errors.js'
import { joinHeads, type ScoredModel } from '../../evaluation/benchmark/score-models.js'
import { rowOf } from '../../evaluation/score-matrix.js'
import { varianceStudy } from '../../evaluation/uncertainty/variance-study.js'
import { type EnsembleStudy, varianceHtml, varianceMarkdown } from '../../report/variance-report.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import type { VarianceOptions } from '../evaluate.js'
import { commandLine, unless } from '../support/command-line.js'
import { withOutput } from '../support/output-folder.js'
import type { Session } from '../support/session.js'
import {
  type Benchmark,
  describeModels,
  headNames,
  modelName,
  readBenchData,
  scoreModels,
  scoringOptions,
} from './scored.js'

/** `prudent evaluate variance`: fills the output folder and gives the tables as Markdown. */
export function runVariance(session: Session, options: VarianceOptions): Promise<string> {
  return withOutput(options.output, async () => {
    const benchmark = await readBenchData(session, options)
    for (const warning of benchmark.warnings) session.note(`warning: ${warning}`)
    const { rows, warnings, revisions } = benchmark
    const shown = rows[options.pair]
    if (shown === undefined)
      throw argumentError('E_RANGE', '--pair', `a row below ${rows.length}`, String(options.pair))
    const study = async (models: string[]) =>
      studyOf(session, await scoreModels(session, options, benchmark, models), benchmark, options)
    const studies = [await study(options.model)]
    if (options.against.length > 0) studies.push(await study(options.against))
    session.signal.throwIfAborted()
    const { data, priorSets, bootstrap, seed, maxLength, dtype, int8 = false } = options
    const pair = { row: options.pair, prompt: shown.prompt, response: lastText(shown.chosen), place: shown.place }
    const report = { pair, warnings, bootstrap, seed, ensembles: studies }
    const head = { kind: 'variance', command: commandOf(options) }
    const settings = { data, priorSets: priorSets ?? null, revisions, maxLength, dtype, int8 }
    const markdown = varianceMarkdown(report)
    const write = (file: string, text: string) => writeFileAtomic(join(options.output, file), text)
    await write('summary.json', `${JSON.stringify({ ...head, ...settings, ...report }, null, 2)}\n`)
    await write('report.md', markdown)
    await write('report.html', await varianceHtml(report))
    return markdown
  })
}

const commandOf = (options: VarianceOptions): string =>
  commandLine('evaluate variance', {
    ...scoringOptions(options),
    against: options.against,
    bootstrap: unless(1000, options.bootstrap),
    seed: unless(0, options.seed),
    pair: unless(0, options.pair),
  })

async function studyOf(
  { signal }: Session,
  models: readonly ScoredModel[],
  { rows }: Benchmark,
  options: VarianceOptions,
): Promise<EnsembleStudy> {
  const scores = joinHeads(models.map((model) => model.scores))
  return {
    name: ensembleName(models.map((model) => modelName(model.path))),
    models: describeModels(models),
    headNames: headNames(models),
    pairScores: [...rowOf(scores.chosen, options.pair)],
    sections: await varianceStudy(scores, rows, { draws: options.bootstrap, seed: options.seed, signal }),
  }
}

const ensembleName = (names: readonly string[]): string =>
  names.length === 1 ? (names[0] as string) : `${names[0]} to ${names.at(-1)} (${names.length} models)`

function lastText(conversation: Benchmark['rows'][number]['chosen']): string {
  return 'text' in conversation ? conversation.text : (conversation.messages.at(-1)?.content ?? '')
}
