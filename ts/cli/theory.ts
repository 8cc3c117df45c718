import type { Command } from 'commander'
import { evenInteger, integerAtLeast, nonNegativeInteger } from './support/options.js'
import { command, type Session } from './support/session.js'

export interface TheoryCommandOptions {
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
    .option('--draws <count>', 'reward estimates drawn in each setting', integerAtLeast(2), 100_000)
    .option('--dimension <count>', 'responses; even', evenInteger, 1000)
    .action(command(theory))
}

async function theory(session: Session, options: TheoryCommandOptions): Promise<void> {
  const { makeTheory } = await import('./theory/make.js')
  process.stdout.write(`${await makeTheory(session, options)}\n`)
}
