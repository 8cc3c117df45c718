// Quantiles of samples, and the ratio of two contestants that took turns.

/** Quantile by linear interpolation, as numpy's default. */
export function quantile(samples, share) {
  if (samples.length === 0) return Number.NaN
  const sorted = [...samples].sort((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
}

export function median(samples) {
  return quantile(samples, 0.5)
}

export function spread(samples) {
  return { p20: quantile(samples, 0.2), p50: median(samples), p80: quantile(samples, 0.8) }
}

/**
 * How many times faster ours is than the peer: the ratio of the medians, and the p20 and p80 of the ratios of runs that followed each
 * other, in which a slow minute of the machine hits both.
 */
export function speedRatio(ours, peer) {
  const pairs = ours.slice(0, peer.length).map((seconds, round) => peer[round] / seconds)
  return { median: median(peer) / median(ours), p20: quantile(pairs, 0.2), p80: quantile(pairs, 0.8) }
}
