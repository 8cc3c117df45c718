import { join } from 'node:path'
import { PrudentError } from '../../errors.js'
import {
  headLines,
  type LeaderboardInput,
  leaderboardResults,
  leaderboardScores,
  leaderboardSets,
} from '../../evaluation/benchmark/leaderboard-files.js'
import { type BenchEntry, benchResults } from '../../evaluation/benchmark/results.js'
import { ensembleRules, type PairScores } from '../../evaluation/benchmark/rules.js'
import { joinHeads, type ScoredModel } from '../../evaluation/benchmark/score-models.js'
import { benchHtml, benchMarkdown } from '../../report/benchmark-report.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import { makeFolder } from '../../run/folders.js'
import type { RewardBenchOptions } from '../evaluate.js'
import { commandLine, unless } from '../support/command-line.js'
import { withOutput } from '../support/output-folder.js'
import type { Session } from '../support/session.js'
import { describeModels, headNames, modelName, readBenchData, scoreModels, scoringOptions } from './scored.js'

/** `prudent evaluate rewardbench`: fills the output folder and gives the table as Markdown. */
export function runRewardBench(session: Session, options: RewardBenchOptions): Promise<string> {
  const name = options.name ?? options.model.map(modelName).join('+').slice(0, 120)
  if (/[/\\]/.test(name) || ['', '.', '..', 'summary'].includes(name)) {
    throw new PrudentError('E_USAGE', `--name: expected a file name other than summary, received "${name}"`, {
      argument: '--name',
    })
  }
  return withOutput(options.output, async () => {
    const benchmark = await readBenchData(session, options)
    for (const warning of benchmark.warnings) session.note(`warning: ${warning}`)
    const models = await scoreModels(session, options, benchmark, options.model)
    const [single] =
      options.single === undefined ? [] : await scoreModels(session, options, benchmark, [options.single])
    const ensemble = joinHeads(models.map((model) => model.scores))
    const scores = {
      ensemble,
      headNames: headNames(models),
      single: single && { name: `single: ${modelName(single.path)}`, scores: meanOf(single.scores, options.lambda) },
    }
    const { rows, warnings, revisions } = benchmark
    const results = benchResults(rows, scores, options)
    const report = { model: name, counts: options.counts, results, warnings }
    const markdown = benchMarkdown(report)
    const [first] = models as [ScoredModel, ...ScoredModel[]]
    const leaderboard: LeaderboardInput = {
      model: options.model.length === 1 ? (options.model[0] as string) : name,
      chatTemplate: first.chatTemplate,
      rows,
      texts: first.texts,
      scores: meanOf(ensemble, options.lambda),
      entry: results.entries[0] as BenchEntry,
    }
    const { counts, lambda, data, priorSets, maxLength, dtype, int8 = false } = options
    const summary = {
      ...{
        kind: 'rewardbench',
        command: commandOf(options),
        model: name,
        data,
        priorSets: priorSets ?? null,
        revisions,
        counts,
        lambda,
        maxLength,
        dtype,
        int8,
      },
      models: describeModels(models),
      single: single === undefined ? null : describeModels([single])[0],
      ...results,
      warnings,
    }
    const write = (file: string, text: string) => writeFileAtomic(join(options.output, file), text)
    await write('heads.jsonl', headLines(rows, ensemble))
    await write(`${name}-scores.json`, json(leaderboardScores(leaderboard)))
    await write(`${name}.json`, json(leaderboardResults(leaderboard)))
    for (const [set, values] of Object.entries(leaderboardSets(leaderboard))) {
      if (values === null) continue
      await makeFolder(join(options.output, set))
      await write(join(set, `${name}.json`), json(values))
    }
    await write('summary.json', json(summary))
    await write('table.md', markdown)
    await write('report.html', await benchHtml(report))
    return markdown
  })
}

const commandOf = (options: RewardBenchOptions): string =>
  commandLine('evaluate rewardbench', {
    ...scoringOptions(options),
    single: options.single,
    counts: unless('fixed', options.counts),
    lambda: unless(1, options.lambda),
    name: options.name,
  })

/** The score that the leaderboard sees: the mean of heads. */
const meanOf = (scores: PairScores, lambda: number): PairScores => ensembleRules(scores, lambda)[0]?.scores ?? scores

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
