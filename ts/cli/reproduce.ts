import type { Command } from 'commander'
import { type StudyOptions, withStudy } from './support/options.js'
import { command, type Session } from './support/session.js'

export function register(program: Command): void {
  withStudy(
    program
      .command('reproduce')
      .description(
        'run a whole study: language models, reward models, ensembles, policies, verdict and report; goes on where it was stopped',
      ),
  ).action(command(reproduce))
}

async function reproduce(session: Session, options: StudyOptions): Promise<void> {
  const { loadConfig } = await import('../config/load.js')
  const { studyConfigSchema } = await import('../study/config.js')
  const config = await loadConfig(studyConfigSchema, options.config, { set: options.set })
  const { runStudyCommand } = await import('./support/study-run.js')
  await runStudyCommand(session, config, { output: options.output, shard: null, mode: 'run', wait: true })
}
