/** Ranks. Conventions: ../native.ts. */

/** The processes that train together. Collectives are called by all ranks in the same order; E_DISTRIBUTED names who is gone and why. */
export interface ProcessGroupOptions {
  rank: number
  size: number
  /** Of the store where ranks meet. */
  address: string
  port: number
  /** The launcher holds the store (torchrun) instead of rank 0. */
  launcherHoldsStore?: boolean
  /** Tells one start of the ranks from the next where the store outlives them. */
  attempt?: string
  /** Of the first meeting and of each collective; default 1800. */
  timeoutSeconds?: number
}
export interface NativeProcessGroup {
  info(): { rank: number; size: number }
  /** Of each value over all ranks. */
  sum(values: Float32Array): Promise<Float32Array>
  /** Rank 0's text. */
  broadcast(text: string): Promise<string>
  /** Tells the other ranks why this one ends, and closes the connections, so that they end too. */
  leave(reason: string): Promise<void>
  dispose(): Promise<void>
}
