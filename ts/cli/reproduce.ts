import { join } from 'node:path'
import type { Command } from 'commander'
import { command, type Session } from './support/session.js'

interface ReproduceOptions {
  config: string
  output?: string
  set: string[]
  commands?: boolean
}

export function register(program: Command): void {
  program
    .command('reproduce')
    .description(
      'run a whole study or experiment: reward models, ensembles, policies, their judge and the report; goes on where it was stopped',
    )
    .requiredOption(
      '--config <file>',
      'YAML configuration: a study (models made here) or an experiment (models that exist)',
    )
    .option('--output <folder>', 'run directory; what is done there is not done again; default: runs/NAME')
    .option(
      '--set <key=value>',
      'replace a value of the configuration, may be repeated',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .option('--commands', "of an experiment: write its commands' configurations, print the commands and run none")
    .action(command(reproduce))
}

async function reproduce(session: Session, options: ReproduceOptions): Promise<void> {
  const { loadExperimentOrStudy } = await import('./support/any-config.js')
  const { kind, config } = await loadExperimentOrStudy(options.config, options.set)
  const output = options.output ?? join('runs', config.name)
  if (kind === 'experiment') {
    const { runExperiment } = await import('./experiment/run.js')
    return runExperiment(session, config, { output, commands: options.commands ?? false })
  }
  if (options.commands) {
    const { PrudentError } = await import('../errors.js')
    throw new PrudentError('E_USAGE', `--commands: expected an experiment, received a study (${options.config})`, {
      argument: '--commands',
    })
  }
  const { runStudyCommand } = await import('./support/study-run.js')
  await runStudyCommand(session, config, { output, shard: null, mode: 'run', wait: true })
}
