import { constants } from 'node:os'
import { PrudentError } from '../../errors.js'
import { type Progress, startProgress } from './progress.js'

/** What every command is given: the stop signal and the ways to speak on standard error. */
export interface Session {
  /** Aborted by the first SIGINT or SIGTERM, and when the reader of standard output goes away. */
  readonly signal: AbortSignal
  /** One line on standard error. */
  note(line: string): void
  /** A bar on a terminal, plain lines elsewhere. */
  progress(label: string, total?: number): Progress
}

type StopSignal = 'SIGINT' | 'SIGTERM'

/**
 * Wraps the body of a command in the conventions of all commands: the first SIGINT or SIGTERM asks for a clean stop, a second
 * ends the process at once; failures are printed on standard error and become the exit code. Commander passes positional
 * arguments first, then the options; the session comes last.
 */
export function command<Arguments extends unknown[]>(
  body: (session: Session, ...parameters: Arguments) => Promise<void>,
): (...parameters: Arguments) => Promise<void> {
  return async (...parameters) => {
    const stop = new AbortController()
    let received: StopSignal | null = null
    let outputLost = false
    const onSignal = (name: StopSignal) => {
      if (received !== null) process.exit(signalExitCode(name))
      received = name
      process.stderr.write(`prudent: ${name}: stopping at the next safe point; once more stops at once\n`)
      stop.abort(new PrudentError('E_CANCELLED', `stopped by ${name}`))
    }
    const onOutputError = (error: NodeJS.ErrnoException) => {
      outputLost = true
      stop.abort(new PrudentError('E_CANCELLED', 'standard output takes no more', { cause: error }))
    }
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
    process.stdout.on('error', onOutputError)
    try {
      await body({ signal: stop.signal, note, progress: startProgress }, ...parameters)
    } catch (error) {
      // watchOutput has said what there is to say of it.
      if (outputLost) return
      if (received !== null && isCancelled(error)) process.exitCode = signalExitCode(received)
      else reportFailure(error)
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    }
  }
}

/** Of the whole process, help and version included: a reader that went away is no failure, a full disk is one. */
export function watchOutput(): void {
  let told = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || told) return
    told = true
    reportFailure(new PrudentError('E_IO', `standard output: cannot be written: ${error.message}`, { cause: error }))
  })
  // A log that nobody reads any more is no reason to stop the work.
  process.stderr.on('error', ignoreBrokenPipe)
}

function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

function signalExitCode(name: StopSignal): number {
  return 128 + constants.signals[name]
}

function isCancelled(error: unknown): boolean {
  return codeOf(error) === 'E_CANCELLED' || (error instanceof Error && error.name === 'AbortError')
}

function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined
}

/** EX_TEMPFAIL of sysexits.h: nothing is wrong, try again later. */
const TRY_LATER = 75

/** 2 for what the user typed or configured, 75 for a shard that others keep waiting, 1 for every other failure. */
export function exitCodeOf(error: unknown): number {
  const code = codeOf(error)
  if (code === 'E_WAITING') return TRY_LATER
  return code === 'E_USAGE' || code === 'E_CONFIG' ? 2 : 1
}

/** Prints a failure on standard error and sets the exit code; `PRUDENT_DEBUG=1` adds stack and causes. */
export function reportFailure(error: unknown): void {
  process.exitCode = exitCodeOf(error)
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  const label = code?.startsWith('E_') ? `error ${code}` : 'error'
  process.stderr.write(`${useColour() ? `\u001b[31m${label}\u001b[39m` : label}: ${message}\n`)
  if (process.env.PRUDENT_DEBUG) {
    for (let at: unknown = error; at instanceof Error; at = at.cause) process.stderr.write(`${at.stack}\n`)
  }
}

function useColour(): boolean {
  return process.stderr.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
}
