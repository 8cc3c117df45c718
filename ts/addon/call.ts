import { argumentError, ERROR_CODES, type ErrorCode, PrudentError } from '../errors.js'
import { loadAddon } from './load.js'
import type { NativeCall } from './native.js'
import { describe } from './rows.js'

/** What every call that computes takes last. */
export interface CallOptions {
  /** Polled between micro-batches; a call that still waits in its queue ends at once. Rejects with AbortError, code E_CANCELLED. */
  signal?: AbortSignal | undefined
  /** Rows done of all rows, at most once a micro-batch. An error that it throws ends the call and is what the call rejects with. */
  onProgress?: ((done: number, total: number) => void) | undefined
}

/** @throws E_TYPE for a signal that is none, or progress that cannot be called */
export function checkCallOptions(options: CallOptions | undefined): void {
  const { signal, onProgress } = options ?? {}
  if (signal && typeof signal.addEventListener !== 'function')
    throw argumentError('E_TYPE', 'signal', 'an AbortSignal', describe(signal))
  if (onProgress && typeof onProgress !== 'function')
    throw argumentError('E_TYPE', 'onProgress', 'a function', describe(onProgress))
}

/**
 * Runs a native call: its abort signal becomes a cancel token, its errors become PrudentErrors with a JavaScript stack.
 * @throws PrudentError; AbortError (E_CANCELLED, cause = signal.reason) when aborted
 */
export async function callNative<T>(
  options: CallOptions | undefined,
  start: (call: NativeCall) => Promise<T>,
): Promise<T> {
  checkCallOptions(options)
  const signal = options?.signal
  const onProgress = options?.onProgress
  if (signal?.aborted) throw abortError(signal)
  // Nothing to cancel or report to: no token is made. Awaited here, or the caller would be missing from the stack of an error.
  if (signal === undefined && onProgress === undefined) {
    try {
      return await start({})
    } catch (error) {
      throw toPrudentError(error)
    }
  }

  const token = loadAddon().createCancelToken()
  const cancel = () => token.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  let thrown: { error: unknown } | undefined
  const progress = (done: number, total: number) => {
    if (thrown !== undefined) return
    try {
      onProgress?.(done, total)
    } catch (error) {
      thrown = { error }
      token.cancel()
    }
  }
  try {
    const result = await start(onProgress === undefined ? { token } : { token, progress })
    // Thrown when all was done already.
    if (thrown !== undefined) throw (thrown as { error: unknown }).error
    return result
  } catch (error) {
    if (thrown !== undefined) throw thrown.error
    if (signal?.aborted && (error as { code?: unknown }).code === 'E_CANCELLED') throw abortError(signal)
    throw toPrudentError(error)
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

/** Options that are undefined count as left out; native code takes them for values. */
export function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

/** For synchronous native functions. */
export function callNativeSync<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw toPrudentError(error)
  }
}

/** Native errors are plain Errors with { code, argument, expected, received } and no JavaScript stack of use; others pass. */
export function toPrudentError(error: unknown): unknown {
  const { code, message, argument, expected, received } = error as Partial<
    Record<'code' | 'message' | 'argument' | 'expected' | 'received', string>
  >
  if (code === undefined || !(code in ERROR_CODES) || error instanceof PrudentError) return error
  return new PrudentError(code as ErrorCode, message ?? code, {
    ...(argument === undefined ? {} : { argument }),
    ...(expected === undefined ? {} : { expected }),
    ...(received === undefined ? {} : { received }),
    cause: error,
  })
}

/** What a call rejects with once its signal is aborted. */
export function abortError(signal: AbortSignal): PrudentError {
  return new PrudentError('E_CANCELLED', 'the call was aborted', { argument: 'signal', cause: signal.reason })
}
