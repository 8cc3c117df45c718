import type { Command } from 'commander'
import { command } from './support/session.js'

export function register(program: Command): void {
  program
    .command('doctor')
    .description('print what was found on this machine: all that a bug report asks for')
    .option('--json', 'as JSON')
    .action(
      command(async (_session, options: { json?: boolean }) => {
        const { diagnose, describeDiagnosis } = await import('./support/diagnosis.js')
        const diagnosis = await diagnose()
        process.stdout.write(options.json ? `${JSON.stringify(diagnosis, null, 2)}\n` : describeDiagnosis(diagnosis))
        if (diagnosis.problems.length > 0) process.exitCode = 1
      }),
    )
}
