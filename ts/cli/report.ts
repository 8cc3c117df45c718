import type { Command } from 'commander'
import { command } from './support/session.js'

export function register(program: Command): void {
  program
    .command('report')
    .description('write report.html of a study or of a training run from what it left in its folder')
    .requiredOption('--run <folder>', 'run directory')
    .action(
      command(async (_session, options: { run: string }) => {
        const { writeReport } = await import('../report/write-report.js')
        process.stdout.write(`${await writeReport(options.run)}\n`)
      }),
    )
}
