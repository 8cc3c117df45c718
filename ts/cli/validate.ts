import type { Command } from 'commander'
import { asKind } from './support/options.js'
import { command } from './support/session.js'
import type { ValidateOptions } from './validate/validate.js'

export function register(program: Command): void {
  program
    .command('validate')
    .description(
      'check a configuration against its models and data before anything runs: all that can be known without a GPU',
    )
    .requiredOption('--config <file>', 'YAML configuration of any command')
    .addOption(asKind('what the configuration is of; default: its `task`, its schema comment, or what fits'))
    .option('--set <key=value>', 'replace a value of the configuration, may be repeated', collect, [])
    .option('--output <folder>', 'run directory that is meant: checked for access and room for the checkpoints')
    .option('--json', 'findings as JSON')
    .addHelpText('after', HELP)
    .action(
      command(async (session, options: ValidateOptions) => {
        const { runValidate } = await import('./validate/validate.js')
        await runValidate(session, options)
      }),
    )
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

const HELP = `
Models of the hub are checked by the headers of their weights, some kilobytes; their tokenizers, and the files of data sets, are
downloaded, as the run would. Findings go to standard output; the exit code is 1 when one of them is an error.`
