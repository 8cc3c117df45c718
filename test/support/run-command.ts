import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'

export interface CommandResult {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  input?: string | Buffer
  environment?: Record<string, string>
  /** Called once with the running process, for tests that send signals. */
  started?: (child: ChildProcess) => void
}

/** Runs `prudent` as a process, as a user would. */
export async function runCommand(parameters: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const child = spawn(process.execPath, [join('bin', 'prudent.js'), ...parameters], {
    env: { ...process.env, PRUDENT_OFFLINE: '1', ...options.environment },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  // A command that fails early does not read its input.
  child.stdin.on('error', () => {})
  if (options.input !== undefined || options.started === undefined) child.stdin.end(options.input ?? '')
  options.started?.(child)
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** The rows of JSON Lines output. */
export function jsonRows<Row>(text: string): Row[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row)
}
