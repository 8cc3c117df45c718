import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { runProgram } from './support/program.js'

/** What a command file exports: a function that declares the command. What the command needs it imports when it runs. */
interface CommandFile {
  register(program: Command): void
}

/** One file per command; only the file of the command that was typed is read. */
const commandFiles: Record<string, () => Promise<CommandFile>> = {
  reproduce: () => import('./reproduce.js'),
  study: () => import('./study.js'),
  judge: () => import('./judge.js'),
  train: () => import('./train.js'),
  score: () => import('./score.js'),
  serve: () => import('./serve.js'),
  generate: () => import('./generate.js'),
  logprobs: () => import('./logprobs.js'),
  plan: () => import('./plan.js'),
  theory: () => import('./theory.js'),
  evaluate: () => import('./evaluate.js'),
  report: () => import('./report.js'),
  setup: () => import('./setup.js'),
  download: () => import('./download.js'),
  validate: () => import('./validate.js'),
  doctor: () => import('./doctor.js'),
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** The command line of `prudent`. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('prudent')
    .description('Uncertainty-aware RLHF: reward models with error bars and variance-weighted PPO')
    .version(packageVersion(), '-v, --version')
    .addHelpText(
      'after',
      '\nData goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,\n2 usage or configuration, 75 waiting for other shards, 130/143 stopped cleanly by a signal.',
    )
  const typed = commandFiles[argv[2] ?? '']
  const files = await Promise.all(typed ? [typed()] : Object.values(commandFiles).map((load) => load()))
  for (const file of files) file.register(program)
  await runProgram(program, argv)
}
