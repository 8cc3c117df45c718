import { type Command, Option } from 'commander'
import { asKind, type ConfigKind } from './support/options.js'
import { command } from './support/session.js'

export interface DownloadOptions {
  config?: string
  as?: ConfigKind
  set: string[]
  type?: 'model' | 'dataset'
  include?: string[]
  dryRun?: boolean
}

export function register(program: Command): void {
  program
    .command('download')
    .description('fetch models and data sets of the hub into the cache that Python shares; one JSON line each')
    .argument('[ids...]', 'owner/name or owner/name@revision')
    .option('--config <file>', 'everything that a configuration names')
    .addOption(
      new Option('--type <kind>', 'what the ids are; default: a model, else a data set').choices(['model', 'dataset']),
    )
    .option('--include <pattern>', 'these files instead of those that prudent reads; may be repeated', collect)
    .addOption(asKind('what --config is of, where the file does not say'))
    .option('--set <key=value>', 'replace a value of the configuration, may be repeated', collect, [])
    .option('--dry-run', 'say what would be fetched')
    .addHelpText('after', HELP)
    .action(
      command(async (session, ids: string[], options: DownloadOptions) => {
        const { runDownload } = await import('./support/downloads.js')
        await runDownload(session, ids, options)
      }),
    )
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

const HELP = `
Of a model, config, safetensors and tokenizer are fetched; of a data set, README.md and the data files. What broke off is gone on with;
size and hash of every file are compared with the hub's. HF_TOKEN opens gated repositories, HF_HUB_CACHE and HF_HOME move the cache,
HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 keeps every command on what the cache holds.`
