import { type Command, Option } from 'commander'
import { positiveInteger, positiveNumber } from './support/options.js'
import { command } from './support/session.js'

export interface PlanOptions {
  config?: string
  set: string[]
  gpu?: string
  gpus: number
  tflops?: number
  like: string[]
  sideTokens: number
  json?: boolean
}

export function register(program: Command): void {
  program
    .command('plan')
    .description('FLOPs, tokens, memory and storage of an experiment before it runs, beside what the paper used')
    .option('--config <file>', "a study's or an experiment's configuration; default: the paper's own experiment")
    .option(
      '--set <key=value>',
      'replace a value of the configuration, may be repeated',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .addOption(
      new Option('--gpu <name>', 'device whose memory and peak are held against the numbers').choices([
        'a40',
        'a100',
        'h100',
        'h200',
      ]),
    )
    .option('--gpus <count>', 'how many of them', positiveInteger, 1)
    .option(
      '--tflops <rate>',
      'sustained TFLOP/s of one device as you measured it (npm run bench): gives hours',
      positiveNumber,
    )
    .addOption(
      new Option(
        '--like <folder>',
        'a finished run of train reward or train policy on the same kind of device: gives hours at its rate; may be repeated, each stage then follows the run of its kind',
      )
        .argParser((value: string, before: string[]) => [...before, value])
        .default([], 'none')
        .conflicts('tflops'),
    )
    .option(
      '--side-tokens <count>',
      'mean tokens of one side of a pair, where no configuration says it',
      positiveInteger,
      300,
    )
    .option('--json', 'the numbers as JSON in place of tables')
    .action(
      command(async (session, options: PlanOptions) => {
        const { printPlan } = await import('./plan/print.js')
        await printPlan(session, options)
      }),
    )
}
