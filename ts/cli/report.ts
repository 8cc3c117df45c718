import type { Command } from 'commander'
import { PrudentError } from '../errors.js'
import { command, type Session } from './support/session.js'

interface ReportCommandOptions {
  run?: string
  output?: string
}

export function register(program: Command): void {
  program
    .command('report')
    .description(
      'write report.html (and report.md, report.json) from what runs left in their folders; several folders make one report',
    )
    .argument('[folders...]', 'studies, judged policies, folders of theory or evaluate; or one training run')
    .option('--run <folder>', 'the one folder, or the first of them')
    .option('--output <folder>', 'where the report goes; default: the first folder')
    .action(command(report))
}

async function report(_session: Session, folders: string[], options: ReportCommandOptions): Promise<void> {
  const [first, ...beside] = options.run === undefined ? folders : [options.run, ...folders]
  if (first === undefined)
    throw new PrudentError('E_USAGE', 'report: expected a folder, received none', { argument: 'folders' })
  const { writeReport } = await import('../report/write-report.js')
  if (options.output !== undefined) await (await import('../run/atomic-files.js')).makeFolder(options.output)
  process.stdout.write(`${await writeReport(first, { beside, ...(options.output && { output: options.output }) })}\n`)
}
