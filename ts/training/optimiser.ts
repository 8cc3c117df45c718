import { tmpdir } from 'node:os'
import type { AdamwOptions } from '../addon/native.js'
import type { OptimiserConfig } from '../config/blocks.js'
import type { TrainingContext } from './types.js'

/** The settings of AdamW without the learning rate, which every step is given. */
export function adamwOptions(optimiser: OptimiserConfig): AdamwOptions {
  const { lr: _, ...options } = optimiser
  return options
}

export interface StateSettings {
  optimiserState?: 'memory' | 'file'
  shardOptimiser?: boolean
}

/** Of a trainer: who trains with it, and where its state lies. Ranks that write no run put theirs where temporary files go. */
export function contextOptions(
  context: Pick<TrainingContext, 'run' | 'group'>,
  { optimiserState = 'memory', shardOptimiser = false }: StateSettings = {},
): Pick<AdamwOptions, 'group' | 'stateFolder' | 'shardStates'> {
  return {
    ...(context.group && { group: context.group, shardStates: shardOptimiser }),
    ...(optimiserState === 'file' && { stateFolder: context.run?.folder ?? tmpdir() }),
  }
}
