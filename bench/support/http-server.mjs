// A server under load: a process that says on its first line of standard output where it listens.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../../scripts/setup/folders.mjs'

/** A server that uses less than a tenth of a core for half a second is idle. */
const [IDLE_MS, IDLE_TICKS] = [500, 5]

export class HttpServer {
  #child

  /** @param {{ name: string, command: string, args: string[], env?: Record<string, string> }} options */
  constructor({ name, command, args, env }) {
    this.name = name
    const errors = process.env.PRUDENT_BENCH_VERBOSE ? 'inherit' : 'ignore'
    this.#child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', errors],
    })
  }

  /** Waits for its line, and for its first answer. */
  async start() {
    const said = once(createInterface({ input: this.#child.stdout }), 'line')
    const ended = once(this.#child, 'close').then(([status]) => {
      throw new Error(
        `${this.name}: ended with status ${status} before it listened (PRUDENT_BENCH_VERBOSE=1 shows why)`,
      )
    })
    ended.catch(() => {})
    const [line] = await Promise.race([said, ended])
    this.url = JSON.parse(line).url
  }

  /** The most that was resident so far, bytes. */
  get peakBytes() {
    const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'))
    return Number(kib) * 1024
  }

  /** CPU ticks that it has used, threads included. */
  get ticks() {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8')
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
    return Number(user) + Number(system)
  }

  /** Until it works no more: a server may go on with requests whose clients are gone, at the expense of the next one. */
  async idle() {
    for (let before = this.ticks, busy = true; busy; before = this.ticks) {
      await sleep(IDLE_MS)
      busy = this.ticks - before > IDLE_TICKS
    }
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const closed = once(this.#child, 'close')
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    this.#child.kill('SIGTERM')
    await closed
    clearTimeout(late)
  }
}
