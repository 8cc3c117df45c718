import { argumentError } from '../errors.js'
import { callNative, callNativeSync } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import type { NativeProcessGroup, ProcessGroupOptions } from './native.js'

/** Where this process stands among those that train together. */
export interface RankEnvironment extends ProcessGroupOptions {
  /** Among the ranks of this machine: the number of its GPU. */
  localRank: number
  /** Ranks on this machine. */
  localSize: number
}

/** Environment variables, as `process.env` has them. */
export type Variables = Readonly<Record<string, string | undefined>>

/**
 * What torchrun tells its processes, and Slurm scripts and Kubernetes' PyTorchJob too: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT,
 * LOCAL_RANK, LOCAL_WORLD_SIZE. PRUDENT_DISTRIBUTED_TIMEOUT: seconds that a rank waits for the others (default 1800).
 * @returns null for a process that is alone
 * @throws E_CONFIG naming the variable
 *
 * @example
 * ```ts
 * import { readRankEnvironment } from 'prudent'
 *
 * const variables = { RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: '10.0.0.1', MASTER_PORT: '29500' }
 * console.log(readRankEnvironment(variables)?.rank) // 1
 * console.log(readRankEnvironment({})) // null
 * ```
 */
export function readRankEnvironment(variables: Variables = process.env): RankEnvironment | null {
  if (variables.WORLD_SIZE === undefined || variables.WORLD_SIZE === '') return null
  const size = integer(variables, 'WORLD_SIZE', 1)
  if (size === 1) return null
  const timeout = variables.PRUDENT_DISTRIBUTED_TIMEOUT
  return {
    rank: integer(variables, 'RANK', 0, size - 1),
    size,
    address: text(variables, 'MASTER_ADDR'),
    port: integer(variables, 'MASTER_PORT', 1, 65535),
    localRank: variables.LOCAL_RANK === undefined ? 0 : integer(variables, 'LOCAL_RANK', 0),
    localSize: variables.LOCAL_WORLD_SIZE === undefined ? 1 : integer(variables, 'LOCAL_WORLD_SIZE', 1),
    launcherHoldsStore: variables.TORCHELASTIC_USE_AGENT_STORE === 'True',
    attempt: variables.TORCHELASTIC_RESTART_COUNT ?? '0',
    ...(timeout === undefined ? {} : { timeoutSeconds: integer(variables, 'PRUDENT_DISTRIBUTED_TIMEOUT', 1) }),
  }
}

function text(variables: Variables, name: string): string {
  const value = variables[name]
  if (!value) throw argumentError('E_CONFIG', name, 'a value, as WORLD_SIZE is above 1', 'none')
  return value
}

function integer(variables: Variables, name: string, low: number, high = Number.MAX_SAFE_INTEGER): number {
  const given = text(variables, name)
  const value = Number(given)
  if (!/^\d+$/.test(given) || value < low || value > high)
    throw argumentError(
      'E_CONFIG',
      name,
      high < Number.MAX_SAFE_INTEGER ? `an integer from ${low} to ${high}` : `an integer >= ${low}`,
      given,
    )
  return value
}

/**
 * The processes that train together. Trainers take it as `group`; every rank gives them the same data and gets the same results.
 *
 * @example
 * ```ts
 * import { ProcessGroup } from 'prudent'
 *
 * // null unless a launcher (torchrun, Slurm, Kubernetes) has started several processes.
 * await using group = await ProcessGroup.fromEnvironment()
 * const mine = Float32Array.of(3)
 * const total = group === null ? mine : await group.sum(mine)
 * console.log(total[0]) // 3
 * ```
 */
export class ProcessGroup extends Handle<NativeProcessGroup> {
  /**
   * Meets the other ranks.
   * @throws E_DISTRIBUTED when not all of them have come in time
   */
  static async connect(options: ProcessGroupOptions): Promise<ProcessGroup> {
    const { rank, size, address, port, launcherHoldsStore, attempt, timeoutSeconds } = options ?? {}
    const given = {
      ...{ rank, size, address, port },
      ...(launcherHoldsStore === undefined ? {} : { launcherHoldsStore }),
      ...(attempt === undefined ? {} : { attempt }),
      ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
    }
    return new ProcessGroup(await callNative(undefined, () => loadAddon().createProcessGroup(given)))
  }

  /** As the environment says (`readRankEnvironment`); null for a process that is alone. */
  static async fromEnvironment(variables: Variables = process.env): Promise<ProcessGroup | null> {
    const found = readRankEnvironment(variables)
    return found === null ? null : ProcessGroup.connect(found)
  }

  /** Number of this process, from 0. */
  get rank(): number {
    return callNativeSync(() => this.native.info().rank)
  }

  /** How many processes there are. */
  get size(): number {
    return callNativeSync(() => this.native.info().size)
  }

  /**
   * Sum of each value over all ranks.
   * @throws E_DISTRIBUTED naming the rank that is gone and why
   */
  sum(values: Float32Array): Promise<Float32Array> {
    return this.call(undefined, (native) => native.sum(values))
  }

  /** Rank 0's value, which must survive JSON; what other ranks give is not looked at. */
  async broadcast<T>(value: T): Promise<T> {
    const text = this.rank === 0 ? JSON.stringify(value) : ''
    return JSON.parse(await this.call(undefined, (native) => native.broadcast(text)))
  }

  /** Tells the other ranks why this one ends, so that they end too. */
  async leave(reason: string): Promise<void> {
    await this.call(undefined, (native) => native.leave(reason))
  }
}
