import { type CallOptions, callNative, callNativeSync } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import type { NativeFeatureCache } from './native.js'

/**
 * Last-token features of a frozen base, [rows, hidden] fp32: computed once, any number of heads train and score from them.
 *
 * @example
 * ```ts
 * import { FeatureCache, RewardModel } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model')
 * await using features = await model.features({ ids: [[2, 11, 12], [2, 20]] })
 * console.log(features.rows, features.hidden) // 2 16
 * const weight = new Float32Array(3 * features.hidden) // three heads
 * console.log((await features.score(weight, 3)).length) // 6
 * await features.save('features.safetensors')
 * await using again = await FeatureCache.load('features.safetensors')
 * console.log(again.rows) // 2
 * ```
 */
export class FeatureCache extends Handle<NativeFeatureCache> {
  /** @internal `RewardModel.features` and `FeatureCache.load` make them. */
  constructor(native: NativeFeatureCache) {
    super(native)
  }

  /**
   * From a safetensors file with one tensor, `features` [rows, hidden].
   * @throws E_NOT_FOUND, E_CORRUPT_FILE, E_MISSING_TENSOR, E_SHAPE
   */
  static async load(file: string, options?: CallOptions): Promise<FeatureCache> {
    return new FeatureCache(await callNative(options, (call) => loadAddon().loadFeatureCache(file, call)))
  }

  /** Texts whose features are held. */
  get rows(): number {
    return callNativeSync(() => this.native.info().rows)
  }

  /** Numbers of one row. */
  get hidden(): number {
    return callNativeSync(() => this.native.info().hidden)
  }

  /** A copy, [rows, hidden] row-major. */
  toArray(): Promise<Float32Array> {
    return this.call(undefined, (native, call) => native.toArray(call))
  }

  /**
   * Scores [rows, heads] by any weight [heads, hidden], both row-major.
   * @throws E_SHAPE, E_DTYPE; E_DISPOSED, E_CANCELLED
   */
  score(weight: Float32Array, heads: number, options?: CallOptions): Promise<Float32Array> {
    return this.call(options, (native, call) => native.score(weight, heads, call))
  }

  /**
   * Writes what `load` reads.
   * @throws E_IO
   */
  save(file: string): Promise<void> {
    return this.call(undefined, (native) => native.save(file))
  }
}
