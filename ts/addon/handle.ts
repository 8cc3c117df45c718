import { type CallOptions, callNative } from './call.js'
import type { NativeCall } from './native.js'

/** An object over native state: `await using` or `dispose()` frees it; otherwise the garbage collector does, later. */
export abstract class Handle<Native extends { dispose(): Promise<void> }> {
  /**
   * The native object, for code inside prudent.
   * @internal
   */
  readonly native: Native

  protected constructor(native: Native) {
    this.native = native
  }

  /** Stops new calls (E_DISPOSED), cancels queued ones (E_CANCELLED), awaits the running one. Safe to call twice. */
  async dispose(): Promise<void> {
    await this.native.dispose()
  }

  /** `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  protected call<T>(
    options: CallOptions | undefined,
    start: (native: Native, call: NativeCall) => Promise<T>,
  ): Promise<T> {
    return callNative(options, (call) => start(this.native, call))
  }
}
