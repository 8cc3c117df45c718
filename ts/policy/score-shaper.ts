import type { ScoreShaping } from './settings.js'

export type RunningMoments = { mean: number; variance: number; count: number }

/** torch.finfo(float32).eps, which classic TRL adds to the divisor. */
const EPSILON = 2 ** -23

/** Scaling, normalising and clipping of scores as classic TRL's PPOTrainer.step does it, with moments over all scores so far. */
export class ScoreShaper {
  readonly #settings: ScoreShaping
  #moments: RunningMoments

  constructor(settings: ScoreShaping, moments: RunningMoments = { mean: 0, variance: 1, count: 1e-24 }) {
    this.#settings = settings
    this.#moments = moments
  }

  get state(): RunningMoments {
    return { ...this.#moments }
  }

  shape(scores: Float32Array): Float32Array {
    const { scale, normalise, clip } = this.#settings
    let shaped = scores
    if (scale) {
      this.#moments = updated(this.#moments, scores)
      const { mean, variance, count } = this.#moments
      const divisor = Math.sqrt((variance * count) / (count - 1)) + EPSILON
      shaped = shaped.map((score) => (normalise ? score - mean : score) / divisor)
    }
    return clip === undefined ? shaped : shaped.map((score) => Math.min(clip, Math.max(-clip, score)))
  }
}

/** Joins the moments of a batch (population variance) to those before it (Chan et al. 1979). */
function updated(old: RunningMoments, values: Float32Array): RunningMoments {
  const size = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / size
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const delta = mean - old.mean
  const count = old.count + size
  const oldSquares = old.variance * old.count + (delta ** 2 * old.count * size) / count
  return { mean: old.mean + (delta * size) / count, variance: (oldSquares + squares) / count, count }
}
