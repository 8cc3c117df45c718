/** How far results may be from their reference, each with its reason. Relative to the largest magnitude of the reference. */
export const tolerances = {
  /** fp32 scores, logits and log-probabilities against transformers: PyTorch's own noise is 4e-6, typical mistakes make 1e-4. */
  modelOutput: 3e-5,
  /** The same fp32 rows in a forward of another size: matrix products sum in another order. Measured 1e-6; a wrong row makes 1. */
  batching: 1e-5,
  /** One fp32 operation over at most a few hundred numbers against float64, gradients there being differences with step 1e-6. */
  operation: 2e-5,
  /**
   * Weights after a dozen optimiser steps on several ranks against one: gradients are added up in another order (1e-7), which Adam's
   * division by the root of the second moment makes larger where a gradient is near 0.
   */
  rankWeights: 2e-3,
  /** Losses, rewards and statistics of those steps. */
  rankMeasures: 2e-3,
} as const

/** Largest absolute difference over the largest magnitude of `scale` (the expected values unless given). */
export function relativeError(actual: readonly number[], expected: readonly number[], scale = expected): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY
  const largest = Math.max(...scale.map(Math.abs), Number.MIN_VALUE)
  const differences = actual.map((value, index) => Math.abs(value - (expected[index] as number)) / largest)
  return Math.max(0, ...differences)
}
