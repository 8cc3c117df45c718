import { loadAddon } from '../addon/load.js'
import type { NativeCall } from '../addon/native.js'
import { PrudentError } from '../errors.js'

/** Runs a native call that an AbortSignal cancels. */
export async function withSignal<T>(signal: AbortSignal | undefined, start: (call: NativeCall) => Promise<T>): Promise<T> {
  if (signal === undefined) return start({})
  throwIfAborted(signal)
  const token = loadAddon().createCancelToken()
  const cancel = () => token.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await start({ token })
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new PrudentError('E_CANCELLED', 'stopped', { cause: signal.reason })
}

export function isCancelled(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'E_CANCELLED'
}
