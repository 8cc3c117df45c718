/** `prudent` commands as processes of their own: each has a log, one GPU or several, and is stopped cleanly with this one. */
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { packageRoot } from '../../addon/places.js'
import { ERROR_CODES, type ErrorCode, PrudentError } from '../../errors.js'
import { makeFolder } from '../../run/folders.js'

export interface ProcessOptions {
  /** Of the log file, its folder made when it is missing. */
  log: string
  environment: Readonly<Record<string, string>>
  signal: AbortSignal
  /** Hears what the process says on standard error. */
  listen?: (text: string) => void
}

/** Standard output of a command that succeeded. @throws its error, under its own code; E_CANCELLED when `signal` stopped it */
export async function runPrudent(parameters: readonly string[], options: ProcessOptions): Promise<string> {
  options.signal.throwIfAborted()
  await makeFolder(dirname(options.log))
  const log = createWriteStream(options.log, { flags: 'a' })
  // In a group of its own: Ctrl-C would reach it twice, and a second signal stops at once.
  const child = spawn(process.execPath, [join(packageRoot, 'bin', 'prudent.js'), ...parameters], {
    env: { ...process.env, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const stop = () => child.kill('SIGTERM')
  options.signal.addEventListener('abort', stop, { once: true })
  let [output, said] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-KEPT)
    log.write(text)
    options.listen?.(text)
  })
  try {
    const { code, signal } = await ended(child)
    if (code === 0) return output
    options.signal.throwIfAborted()
    throw failureOf(parameters, said, signal === null ? `exit code ${code}` : signal, options.log)
  } finally {
    options.signal.removeEventListener('abort', stop)
    await new Promise<void>((resolve) => log.end(resolve))
  }
}

/** Characters of standard error in which the error is looked for. */
const KEPT = 20_000

function ended(child: ReturnType<typeof spawn>) {
  return new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal }))
  })
}

function failureOf(parameters: readonly string[], said: string, how: string, log: string): PrudentError {
  const command = `prudent ${parameters.slice(0, 2).join(' ')}`
  const found = [...said.matchAll(/^error (E_[A-Z_]+): (.*)$/gm)].at(-1)
  const code = found?.[1]
  if (code !== undefined && Object.hasOwn(ERROR_CODES, code))
    return new PrudentError(code as ErrorCode, `${command}: ${found?.[2]} (log: ${log})`)
  const last = said.trimEnd().split('\n').slice(-5).join('\n')
  return new PrudentError('E_DISTRIBUTED', `${command} ended with ${how} (log: ${log}):\n${last}`, { received: how })
}

/** The same command by several processes together, as a launcher would start it. The output is that of rank 0. */
export async function runRanks(
  parameters: readonly string[],
  size: number,
  options: (rank: number) => ProcessOptions,
): Promise<string> {
  if (size === 1) return runPrudent(parameters, options(0))
  const port = await freePort()
  const ranks = Array.from({ length: size }, (_, rank) => {
    const own = options(rank)
    const environment = { ...own.environment, ...rankEnvironment(rank, size, port) }
    return runPrudent(parameters, { ...own, environment })
  })
  const results = await Promise.allSettled(ranks)
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  // The others only say that one is gone.
  const isOwn = (error: PrudentError) => error.code !== 'E_DISTRIBUTED' || error.received !== undefined
  const cause = failures.find((error) => isOwn(error as PrudentError)) ?? failures[0]
  if (cause !== undefined) throw cause
  return (results[0] as PromiseFulfilledResult<string>).value
}

/** Each sees its own GPU alone, which is number 0 to it. */
const rankEnvironment = (rank: number, size: number, port: number): Record<string, string> => ({
  ...{ RANK: `${rank}`, WORLD_SIZE: `${size}`, LOCAL_RANK: '0', LOCAL_WORLD_SIZE: `${size}` },
  ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}` },
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}
