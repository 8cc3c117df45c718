import { freemem } from 'node:os'
import type { NativeModel } from '../addon/native.js'
import type { OptimiserState } from './settings.js'

/** What decides how much memory a training step takes beside the tokens of a micro-batch. */
export interface StepMemorySettings {
  activationCheckpointing: boolean
  activationMemory?: number | undefined
  updateInBackward: boolean
  optimiserState: OptimiserState
  shardOptimiser: boolean
}

/** Left for the program, the data and what this estimate does not know. */
const USABLE = 0.8
/** Below it matrix products are too small to run at full rate, so that fewer tokens would only help a step that hardly fits anyway. */
const FEWEST = 256
/** Logits of one chunk, packed operands, the moments' window. */
const FIXED_BYTES = { cpu: 128 * 2 ** 20, cuda: 1024 * 2 ** 20 }

export interface FittingOptions {
  /** Upper bound. */
  most: number
  /** That share the optimiser's state, with `shardOptimiser` (default 1). */
  ranks?: number
  /** Processes that take their memory from the same machine (default 1). */
  sharers?: number
  /** Default: of the model's device, now. */
  freeBytes?: number
}

/**
 * Tokens of one forward and backward that free memory has room for beside gradients and the optimiser's state, which are yet to be
 * allocated: at most `most`, at least 256.
 */
export function fittingTokens(
  model: NativeModel,
  settings: StepMemorySettings,
  { most, ranks = 1, sharers = 1, freeBytes }: FittingOptions,
): number {
  const { parameterCount, dtype, layers, hiddenSize, device } = model.info()
  const { blockBytes, freeBytes: ofDevice } = model.trainingMemory()
  const onCpu = ofDevice === null
  const itemBytes = dtype === 'bfloat16' ? 2 : 4
  const free = (freeBytes ?? ofDevice ?? availableMemory()) / sharers

  const perParameter =
    // Weights that are mapped from a file become the process's own as they are updated.
    (onCpu ? itemBytes : 0) +
    (settings.updateInBackward ? 0 : 4) +
    (settings.optimiserState === 'file' ? 0 : (itemBytes === 2 ? 12 : 8) / (settings.shardOptimiser ? ranks : 1))
  const kept = settings.activationCheckpointing ? (settings.activationMemory ?? 0) * 2 ** 20 : 0
  const fixed = FIXED_BYTES[device === 'cpu' ? 'cpu' : 'cuda'] + parameterCount * perParameter + kept

  const inputs = layers * hiddenSize * itemBytes
  // The backward of one block takes about two blocks more: its own gradients, and where it is run again its activations.
  const perToken = inputs + (settings.activationCheckpointing ? 3 : layers + 2) * blockBytes
  return Math.max(FEWEST, Math.min(most, Math.floor((free * USABLE - fixed) / perToken)))
}

/** Bytes that this process may still take: of the machine, or of its control group where that allows less. */
function availableMemory(): number {
  return process.availableMemory?.() ?? freemem()
}
