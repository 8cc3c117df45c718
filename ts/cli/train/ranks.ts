import { callNative } from '../../addon/call.js'
import { ProcessGroup, type RankEnvironment, readRankEnvironment } from '../../addon/process-group.js'
import { configureExecutor, systemInfo } from '../../addon/system.js'
import type { Session } from '../support/session.js'

/**
 * The other processes of a training command that a launcher (torchrun, Slurm, Kubernetes) started several times. Rank 0 owns the run
 * directory and writes; what it finds there it tells the others. All of them must see the same files.
 */
export class Ranks {
  readonly group: ProcessGroup
  readonly #environment: RankEnvironment

  private constructor(group: ProcessGroup, environment: RankEnvironment) {
    this.group = group
    this.#environment = environment
  }

  /** Meets the other ranks; null for a process that is alone. */
  static async join(session: Session): Promise<Ranks | null> {
    const environment = readRankEnvironment()
    if (environment === null) return null
    shareCores(environment.localSize)
    const group = await ProcessGroup.connect(environment)
    if (environment.rank === 0) session.note(`${environment.size} ranks`)
    return new Ranks(group, environment)
  }

  get size(): number {
    return this.#environment.size
  }

  /** Ranks on this machine. */
  get localSize(): number {
    return this.#environment.localSize
  }

  get isWriter(): boolean {
    return this.#environment.rank === 0
  }

  /** `cuda` is the GPU of this rank's number on its machine. */
  device(configured: string): string {
    return configured === 'cuda' ? `cuda:${this.#environment.localRank}` : configured
  }

  /** Rank 0's value. */
  broadcast<T>(value: T): Promise<T> {
    return this.group.broadcast(value)
  }

  /** Ends this rank's part: with a reason when it failed, so that the others end too and can say why. */
  async leave(error?: unknown): Promise<void> {
    const { code } = (error ?? {}) as { code?: string }
    // Who was cut off has nothing to add.
    if (error !== undefined && code !== 'E_DISTRIBUTED') {
      const message = error instanceof Error ? error.message : String(error)
      await callNative(undefined, () => this.group.native.leave(code ? `${code}: ${message}` : message))
    } else if (error !== undefined) {
      await callNative(undefined, () => this.group.native.leave('cut off'))
    }
    await this.group.dispose()
  }
}

/** Ranks on one machine share its cores; each would take all of them otherwise. */
function shareCores(ranks: number): void {
  if (ranks < 2) return
  const { cpu } = systemInfo()
  configureExecutor({ lanes: 1, threadsPerLane: Math.max(1, Math.floor(cpu.cores / ranks)) })
}
