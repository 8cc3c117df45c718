import { type Command, CommanderError } from 'commander'
import { reportFailure, watchOutput } from './session.js'

/**
 * Runs the command line. Commander's own refusals (unknown option, missing argument) become exit code 2; help and version,
 * asked for, are data on standard output with exit code 0.
 */
export async function runProgram(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  watchOutput()
  prepare(program)
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
    else reportFailure(error)
  }
}

/** Subcommands do not inherit the override when it is set after them, so it is set on all. */
function prepare(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help lists the options)')
  command.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'error E_USAGE: ')) })
  for (const child of command.commands) prepare(child)
}
