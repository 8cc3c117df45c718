import { type CallOptions, callNative } from './call.js'
import { Handle } from './handle.js'
import { loadAddon } from './load.js'
import type { NativeFeatureCache } from './native.js'

/** Last-token features of a frozen base, [rows, hidden] fp32: computed once, any number of heads train and score from them. */
export class FeatureCache extends Handle<NativeFeatureCache> {
  constructor(native: NativeFeatureCache) {
    super(native)
  }

  /** A safetensors file with one tensor, `features` [rows, hidden]. */
  static async load(file: string, options?: CallOptions): Promise<FeatureCache> {
    return new FeatureCache(await callNative(options, (call) => loadAddon().loadFeatureCache(file, call)))
  }

  get rows(): number {
    return this.native.info().rows
  }

  get hidden(): number {
    return this.native.info().hidden
  }

  /** A copy, [rows, hidden] row-major. */
  toArray(): Promise<Float32Array> {
    return this.call(undefined, (native, call) => native.toArray(call))
  }

  /** [rows, heads] for any weight [heads, hidden], both row-major. */
  score(weight: Float32Array, heads: number, options?: CallOptions): Promise<Float32Array> {
    return this.call(options, (native, call) => native.score(weight, heads, call))
  }

  save(file: string): Promise<void> {
    return this.call(undefined, (native) => native.save(file))
  }
}
