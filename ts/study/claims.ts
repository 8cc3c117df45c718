/**
 * Who does what, when several processes work on one study: a stage or unit is done by whoever holds its lock. A process that dies leaves
 * locks that others take over, so nothing depends on any one of them.
 */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrudentError } from '../errors.js'
import { makeFolder } from '../run/folders.js'
import { lockFile, type RunLock } from '../run/lock.js'
import type { Shard } from './shards.js'

export interface ClaimOptions {
  shard?: Shard
  /** false: E_WAITING where others would have to be waited for. */
  wait?: boolean
  pollMs?: number
  signal?: AbortSignal
  /** Hears once of everything that is waited for. */
  onWait?: (what: string) => void
}

export class Claims {
  readonly shard: Shard
  readonly #options: ClaimOptions
  readonly #announced = new Set<string>()

  constructor(options: ClaimOptions = {}) {
    this.#options = options
    this.shard = options.shard ?? { index: 0, count: 1 }
  }

  /** null while another process has it. */
  async take(file: string): Promise<RunLock | null> {
    await makeFolder(path.dirname(file))
    try {
      return await lockFile(file)
    } catch (error) {
      if (error instanceof PrudentError && error.code === 'E_LOCKED') return null
      throw error
    }
  }

  /** Passes a moment before others are looked at again. */
  async pause(what: string): Promise<void> {
    const { wait = true, pollMs = 500, signal, onWait } = this.#options
    if (!wait) throw new PrudentError('E_WAITING', `${what}: another process works on it`, { received: what })
    if (!this.#announced.has(what)) onWait?.(what)
    this.#announced.add(what)
    await sleep(pollMs, undefined, signal ? { signal } : {})
  }
}
