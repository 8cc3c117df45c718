import type { AdamwOptions } from '../addon/native.js'
import type { OptimiserConfig } from '../config/blocks.js'

/** The settings of AdamW without the learning rate, which every step is given. */
export function adamwOptions(optimiser: OptimiserConfig): AdamwOptions {
  const { lr: _, ...options } = optimiser
  return options
}
