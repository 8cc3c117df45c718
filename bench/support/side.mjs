// One side of a comparison: a long-living child process that answers one JSON line with one JSON line. Its memory, CPU time and page
// faults are read from /proc by the driver, in the same way for every side.
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const STDERR_KEPT = 4000

export class SideError extends Error {}

export class Side {
  /** @param {{ name: string, command: string, args: string[], env?: Record<string, string>, cwd?: string }} how */
  constructor({ name, command, args, env = {}, cwd }) {
    this.name = name
    this.waiting = new Map()
    this.nextId = 1
    this.said = ''
    this.child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.ended = new Promise((resolve) => {
      this.child.on('error', (cause) => {
        this.fail(`cannot be started: ${cause.message}`)
        resolve()
      })
      this.child.on('close', (status, signal) => {
        this.fail(`ended ${signal ? `by ${signal}` : `with status ${status}`}`)
        resolve()
      })
    })
    this.child.stdin.on('error', () => {}) // the close event says what happened
    this.child.stderr.on('data', (chunk) => {
      this.said = (this.said + chunk).slice(-STDERR_KEPT)
      if (process.env.PRUDENT_BENCH_VERBOSE) process.stderr.write(chunk)
    })
    createInterface({ input: this.child.stdout }).on('line', (line) => this.receive(line))
  }

  receive(line) {
    let message
    try {
      message = JSON.parse(line)
    } catch {
      this.fail(`said something that is no JSON: ${line.slice(0, 200)}`)
      return
    }
    const call = this.waiting.get(message.id)
    if (!call) return
    this.waiting.delete(message.id)
    if (message.error === undefined) call.resolve(message.result)
    else call.reject(new SideError(`${this.name}: ${message.error}`))
  }

  fail(what) {
    this.failure ??= `${this.name}: ${what}${this.said ? `\n${this.said}` : ''}`
    for (const call of this.waiting.values()) call.reject(new SideError(this.failure))
    this.waiting.clear()
  }

  /** @returns {Promise<any>} what the other side answered */
  call(method, params = {}) {
    if (this.failure) return Promise.reject(new SideError(this.failure))
    return new Promise((resolve, reject) => {
      const id = this.nextId++
      this.waiting.set(id, { resolve, reject })
      this.child.stdin.write(`${JSON.stringify({ id, method, params })}\n`)
    })
  }

  /** Bytes: what is resident now and the most that was since the last `resetPeak`. */
  memory() {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8')
    const kilobytes = (field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
    return { resident: kilobytes('VmRSS') * 1024, peak: kilobytes('VmHWM') * 1024 }
  }

  resetPeak() {
    writeFileSync(`/proc/${this.child.pid}/clear_refs`, '5')
  }

  /** CPU seconds used and pages faulted in so far, all threads together. */
  usage() {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { cpuTicks: Number(fields[11]) + Number(fields[12]), faults: Number(fields[7]) }
  }

  async stop() {
    this.child.stdin.end()
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000)
    await this.ended
    clearTimeout(timer)
  }
}
