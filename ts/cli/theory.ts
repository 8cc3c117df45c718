import type { Command } from 'commander'
import { evenInteger, nonNegativeInteger, positiveInteger } from './support/options.js'
import { command, type Session } from './support/session.js'

interface TheoryCommandOptions {
  output: string
  seed: number
  draws: number
  dimension: number
}

export function register(program: Command): void {
  program
    .command('theory')
    .description("figures 2 to 5 and the paper's theorems by simulation: summary.json and report.html, in seconds")
    .requiredOption('--output <folder>', 'where summary.json and report.html go')
    .option('--seed <number>', 'of all random draws', nonNegativeInteger, 20)
    .option('--draws <count>', 'reward estimates drawn in each setting', positiveInteger, 100_000)
    .option('--dimension <count>', 'responses; even', evenInteger, 1000)
    .action(command(theory))
}

async function theory(session: Session, { output, ...options }: TheoryCommandOptions): Promise<void> {
  const { mkdir } = await import('node:fs/promises')
  const { join } = await import('node:path')
  const { runTheory } = await import('../theory/study.js')
  const { theoryReport } = await import('../report/theory-report.js')
  const { writeFileAtomic } = await import('../run/atomic-files.js')
  await mkdir(output, { recursive: true })
  const summary = runTheory({ ...options, signal: session.signal }, (what) => session.note(`${what} …`))
  await writeFileAtomic(join(output, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
  const report = join(output, 'report.html')
  await writeFileAtomic(report, await theoryReport(summary))
  for (const finding of summary.findings) session.note(`- ${finding}`)
  process.stdout.write(`${report}\n`)
}
