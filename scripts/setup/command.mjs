// Runs one child process in a process group of its own, so that an interrupted set-up takes compilers and pip down with it.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { SetupError } from './report.mjs'

const running = new Set()
const observers = new Set()

/** Calls `observer(pid | undefined)` whenever a child starts or the last one ends; returns the function that ends this. */
export function observeChildren(observer) {
  observers.add(observer)
  return () => observers.delete(observer)
}

export function signalChildren(signal) {
  for (const pid of running) {
    try {
      process.kill(-pid, signal)
    } catch {
      // It has ended already.
    }
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, log?: string, onLine?: (line: string) => void }} options
 * @returns {Promise<{ status: number | null, signal: string | null, output: string }>} `output` is stdout and stderr together
 */
export function run(command, args, { cwd, env, log, onLine } = {}) {
  if (log) mkdirSync(dirname(log), { recursive: true })
  const logFile = log ? openSync(log, 'w') : undefined
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    const chunks = []
    let rest = ''
    const take = (chunk) => {
      chunks.push(chunk)
      if (logFile !== undefined) writeSync(logFile, chunk)
      if (!onLine) return
      const lines = (rest + chunk.toString('utf8')).split(/[\r\n]+/)
      rest = lines.pop() ?? ''
      for (const line of lines) onLine(line)
    }
    const finish = () => {
      running.delete(child.pid)
      for (const observer of observers) observer(undefined)
      if (logFile !== undefined) closeSync(logFile)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', (cause) => {
      finish()
      reject(new SetupError('E_TOOL', `${command} cannot be run: ${cause.message}`))
    })
    child.on('close', (status, signal) => {
      finish()
      resolve({ status, signal, output: Buffer.concat(chunks).toString('utf8') })
    })
    if (child.pid !== undefined) {
      running.add(child.pid)
      for (const observer of observers) observer(child.pid)
    }
  })
}

/** As `run`, but a failure is an error that shows the end (or the start) of what the command said and names the log. */
export async function runOrFail(what, command, args, { show = 'end', ...options } = {}) {
  const result = await run(command, args, options)
  if (result.status === 0) return result.output
  const text = options.log ? readFileSync(options.log, 'utf8') : result.output
  const lines = text.trimEnd().split('\n')
  const shown = (show === 'start' ? lines.slice(0, 25) : lines.slice(-60)).join('\n')
  const how = result.signal ? `was stopped by ${result.signal}` : `failed with status ${result.status}`
  throw new SetupError('E_BUILD', `${what} ${how}${options.log ? ` (whole log: ${options.log})` : ''}\n${shown}`)
}
