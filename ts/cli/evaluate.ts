import { type Command, InvalidArgumentError, Option } from 'commander'
import { device, type Int8Options, nonNegativeInteger, positiveInteger, withInt8 } from './support/options.js'
import { command } from './support/session.js'

/** What both evaluations ask for. */
export interface EvaluateOptions extends Int8Options {
  model: string[]
  data: string
  split?: string
  dataRevision?: string
  priorSets?: string
  output: string
  scores?: string
  revision?: string
  tokenizer?: string
  dtype: 'auto' | 'float32' | 'bfloat16'
  device: string
  batchTokens: number
  maxLength: number
}

export interface RewardBenchOptions extends EvaluateOptions {
  single?: string
  counts: 'fixed' | 'legacy'
  lambda: number
  name?: string
}

export interface VarianceOptions extends EvaluateOptions {
  against: string[]
  bootstrap: number
  seed: number
  pair: number
}

export interface SourcesOptions {
  config: string
  output: string
  set?: string[]
}

export function register(program: Command): void {
  const evaluate = program
    .command('evaluate')
    .description('measure reward models: RewardBench, disagreement of heads, sources of sigma')
  rewardBench(evaluate.command('rewardbench'))
  variance(evaluate.command('variance'))
  sources(evaluate.command('sources'))
}

function sources(evaluate: Command): void {
  evaluate
    .description('uncertainty sources side by side on one frozen base, and sigma split into start, data and order')
    .requiredOption('--config <file>', 'YAML; see configs/schema/sources.json')
    .requiredOption('--output <folder>', 'where summary.json, report.md and report.html go')
    .option('--set <key=value>', 'change one setting, may be repeated', collect)
    .action(
      command(async (session, options: SourcesOptions) => {
        const { runSources } = await import('./evaluate/sources.js')
        await runSources(session, options)
      }),
    )
}

function rewardBench(evaluate: Command): void {
  withBenchmark(
    evaluate.description("RewardBench v1: the leaderboard's files, a table and figure 9; goes on where it was stopped"),
  )
    .option('--single <folder>', 'a single reward model to stand beside the heads (figure 9, orange)')
    .addOption(
      new Option('--counts <weights>', 'XSTest weights: as of September 2024, or swapped as before')
        .choices(['fixed', 'legacy'])
        .default('fixed'),
    )
    .option('--lambda <factor>', 'factor of the lower bound mean - lambda * std', nonNegativeNumber, 1)
    .option('--name <name>', "name of the leaderboard's files; default: the model's")
    .action(
      command(async (session, options: RewardBenchOptions) => {
        const { runRewardBench } = await import('./evaluate/reward-bench.js')
        process.stdout.write(await runRewardBench(session, options))
      }),
    )
}

function variance(evaluate: Command): void {
  withBenchmark(
    evaluate.description(
      'how heads disagree, and whether that tells anything: figures 1 and 6, error prediction, calibration',
    ),
  )
    .option('--against <folder>', 'a second ensemble to compare with, may be repeated as --model', collect, [])
    .option('--bootstrap <count>', 'resamples of prompts for the intervals', positiveInteger, 1000)
    .option('--seed <number>', 'seed of the resamples', nonNegativeInteger, 0)
    .option('--pair <number>', 'row whose accepted response figure 1 shows', nonNegativeInteger, 0)
    .action(
      command(async (session, options: VarianceOptions) => {
        const { runVariance } = await import('./evaluate/variance.js')
        process.stdout.write(await runVariance(session, options))
      }),
    )
}

function withBenchmark(evaluate: Command): Command {
  return withInt8(evaluate)
    .requiredOption('--model <folder>', 'model folder or hub id; repeated, all their heads are one ensemble', collect)
    .requiredOption(
      '--data <source>',
      "Parquet or JSON Lines in allenai/reward-bench's columns: a file, folder or hub id",
    )
    .option('--split <name>', 'split of a folder or hub id; default: filtered')
    .option('--data-revision <name>', 'branch, tag or commit of the data set')
    .option('--prior-sets <source>', "allenai/pref-test-sets's layout: a file, folder or hub id")
    .requiredOption('--output <folder>', 'where results go; scores that are there are not computed again')
    .option('--scores <folder>', "where models' scores are kept for runs to come; default: scored/ of the output")
    .option('--revision <name>', 'branch, tag or commit of models that are hub ids')
    .option('--tokenizer <folder>', "tokenizer folder or hub id; default: the model's")
    .addOption(new Option('--dtype <type>', 'arithmetic').choices(['auto', 'float32', 'bfloat16']).default('float32'))
    .option('--device <device>', 'cpu or cuda:N', device, 'cpu')
    .option('--batch-tokens <count>', 'tokens in one forward pass', positiveInteger, 8192)
    .option('--max-length <tokens>', 'longer sides are cut on the left', positiveInteger, 2048)
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

function nonNegativeNumber(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('Expected a number >= 0.')
  return value
}
