import { callNativeSync } from './call.js'
import { loadAddon } from './load.js'
import type { SystemInfo } from './native.js'

/**
 * What this build of prudent found: versions, CPU features in use, threads, CUDA devices.
 * @throws E_NOT_BUILT, E_LIBTORCH
 *
 * @example
 * ```ts
 * import { systemInfo } from 'prudent'
 *
 * const { libtorch, threads } = systemInfo()
 * console.log(/^2\./.test(libtorch), threads.lanes >= 1) // true true
 * ```
 */
export function systemInfo(): SystemInfo {
  return callNativeSync(() => loadAddon().systemInfo())
}

/**
 * How CPU work is divided, for the whole process: `lanes` calls at once, each with `threadsPerLane` threads; 1 x all cores unless
 * configured. Many small models run faster as n x 1, one large model as 1 x n.
 * `deterministic` makes runs on CUDA bit-exact (flash attention's deterministic backward, sorted gradients of gathers, a fixed cuBLAS
 * workspace): set it before the first work on CUDA. The CPU is always deterministic for a given number of threads.
 * @throws E_BUSY while a call waits or runs, E_RANGE when lanes x threadsPerLane exceeds the cores
 *
 * @example
 * ```ts
 * import { configureExecutor, systemInfo } from 'prudent'
 *
 * configureExecutor({ lanes: 1, threadsPerLane: 1 })
 * console.log(systemInfo().threads.threadsPerLane) // 1
 * ```
 */
export function configureExecutor(options: { lanes: number; threadsPerLane: number; deterministic?: boolean }): void {
  callNativeSync(() => loadAddon().configureExecutor(options))
}
