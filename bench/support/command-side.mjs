// A contestant that is a whole process: started anew for every run and timed from start to end, as a user at a shell sees it.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { SideError } from './side.mjs'

const POLL_MS = 4

/** Answers the same calls as Side. Memory and CPU time are the last that /proc showed before the process ended. */
export class CommandSide {
  /** @param {{ name: string, command: string, args: string[], env?: object, cwd?: string, parse?: (output: string) => object }} how */
  constructor(how) {
    this.how = how
    this.resetPeak()
  }

  async call(method) {
    if (method === 'hello') return { versions: {} }
    if (method === 'load') return { held: 0 }
    const { seconds, output } = await this.once()
    return method === 'check' ? (this.how.parse ?? (() => ({})))(output) : { seconds }
  }

  once() {
    const { name, command, args, env, cwd } = this.how
    const start = performance.now()
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const timer = setInterval(() => this.observe(child.pid), POLL_MS)
    let [output, said] = ['', '']
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    child.stderr.on('data', (chunk) => {
      said += chunk
    })
    return new Promise((resolve, reject) => {
      child.on('error', (cause) => reject(new SideError(`${name}: ${cause.message}`)))
      child.on('close', (status) => {
        clearInterval(timer)
        const seconds = (performance.now() - start) / 1000
        if (status === 0) resolve({ seconds, output })
        else reject(new SideError(`${name}: ended with status ${status}\n${said.slice(-2000)}`))
      })
    })
  }

  observe(pid) {
    try {
      const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      this.peak = Math.max(this.peak, Number(peak ?? 0) * 1024)
      this.used = { cpuTicks: Number(fields[11]) + Number(fields[12]), faults: Number(fields[7]) }
    } catch {
      // It has ended.
    }
  }

  memory() {
    return { resident: 0, peak: this.peak }
  }

  resetPeak() {
    this.peak = 0
    this.used = { cpuTicks: 0, faults: 0 }
  }

  usage() {
    return this.used
  }

  async stop() {}
}
