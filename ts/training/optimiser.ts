import { tmpdir } from 'node:os'
import type { AdamwOptions } from '../addon/native.js'
import type { OptimiserConfig } from '../config/blocks.js'
import type { TrainingContext } from './types.js'

/** The settings of AdamW without the learning rate, which every step is given. */
export function adamwOptions(optimiser: OptimiserConfig): AdamwOptions {
  const { lr: _, ...options } = optimiser
  return options
}

/** Of a trainer: who trains with it, and where its state lies. Ranks that write no run put theirs where temporary files go. */
export function contextOptions(
  context: Pick<TrainingContext, 'run' | 'group'>,
  optimiserState: 'memory' | 'file' = 'memory',
): Pick<AdamwOptions, 'group' | 'stateFolder'> {
  return {
    ...(context.group && { group: context.group }),
    ...(optimiserState === 'file' && { stateFolder: context.run?.folder ?? tmpdir() }),
  }
}
