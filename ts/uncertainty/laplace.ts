import { argumentError } from '../errors.js'
import type { UncertaintySource } from './linear-source.js'

export interface LaplaceOptions {
  hidden: number
  /** Of the prior N(0, 1 / priorPrecision) of every weight. */
  priorPrecision: number
  /** Newton steps at most (default 50). */
  maxSteps?: number
}

/**
 * Bayesian Bradley-Terry head on frozen features, by Laplace: the mode w of sum_i ln sigmoid(d_i w) - precision / 2 |w|^2 over differences
 * d = chosen - rejected [pairs, hidden], and the posterior N(w, H^-1), H = sum_i p_i (1 - p_i) d_i d_i' + precision I. With H = L L' the
 * factor is L^-1, so the predictive variance x' H^-1 x is |L^-1 x|^2. In double precision; hidden^3 work, for bases of moderate width.
 */
export function laplaceSource(differences: Float32Array, options: LaplaceOptions): UncertaintySource {
  const { hidden, priorPrecision, maxSteps = 50 } = options
  if (!(hidden >= 1) || differences.length === 0 || differences.length % hidden !== 0)
    throw argumentError('E_SHAPE', 'differences', `[pairs, ${hidden}]`, `${differences.length} values`)
  if (!(priorPrecision > 0)) throw argumentError('E_RANGE', 'priorPrecision', 'a number > 0', String(priorPrecision))
  const mode = new Float64Array(hidden)
  for (let step = 0; step < maxSteps; step++) {
    const { gradient, lower } = curvature(differences, mode, priorPrecision)
    const move = solve(lower, gradient)
    const loss = penalisedLoss(differences, mode, priorPrecision)
    let size = 1
    const moved = () => mode.map((weight, index) => weight - size * (move[index] as number))
    while (size > 1e-6 && penalisedLoss(differences, moved(), priorPrecision) > loss) size /= 2
    mode.set(moved())
    if (Math.hypot(...move) <= 1e-10 * (1 + Math.hypot(...mode))) break
  }
  const { lower } = curvature(differences, mode, priorPrecision)
  const factor = new Float32Array(hidden * hidden)
  for (let column = 0; column < hidden; column++) {
    const unit = new Float64Array(hidden)
    unit[column] = 1
    forward(lower, unit).forEach((value, row) => {
      factor[row * hidden + column] = value
    })
  }
  const spread = { rank: hidden, factor }
  return { kind: 'laplace', hidden, heads: 1, weights: Float32Array.from(mode), spread }
}

function margin(differences: Float32Array, pair: number, weights: Float64Array): number {
  const at = pair * weights.length
  return weights.reduce((sum, weight, index) => sum + weight * (differences[at + index] as number), 0)
}

function penalisedLoss(differences: Float32Array, weights: Float64Array, precision: number): number {
  let loss = (precision / 2) * weights.reduce((sum, weight) => sum + weight ** 2, 0)
  for (let pair = 0; pair < differences.length / weights.length; pair++) {
    const z = -margin(differences, pair, weights)
    loss += Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))
  }
  if (!Number.isFinite(loss)) throw argumentError('E_NON_FINITE', 'differences', 'finite features', String(loss))
  return loss
}

/** Gradient of the penalised loss and the Cholesky factor L of its Hessian, [hidden, hidden] row-major. */
function curvature(differences: Float32Array, weights: Float64Array, precision: number) {
  const size = weights.length
  const gradient = weights.map((weight) => precision * weight)
  const hessian = new Float64Array(size * size)
  for (let i = 0; i < size; i++) hessian[i * size + i] = precision
  for (let pair = 0; pair < differences.length / size; pair++) {
    const wrong = 1 / (1 + Math.exp(margin(differences, pair, weights)))
    const slope = wrong * (1 - wrong)
    for (let i = 0; i < size; i++) {
      const d = differences[pair * size + i] as number
      gradient[i] = (gradient[i] as number) - wrong * d
      for (let j = 0; j <= i; j++) {
        const at = i * size + j
        hessian[at] = (hessian[at] as number) + slope * d * (differences[pair * size + j] as number)
      }
    }
  }
  return { gradient, lower: cholesky(hessian, size) }
}

/** From the lower triangle, in place; what is above stays unread. */
function cholesky(matrix: Float64Array, size: number): Float64Array {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * size + j] as number
      for (let k = 0; k < j; k++) sum -= (matrix[i * size + k] as number) * (matrix[j * size + k] as number)
      if (i === j && !(sum > 0))
        throw argumentError('E_NON_FINITE', 'differences', 'a positive definite Hessian', `pivot ${sum}`)
      matrix[i * size + j] = i === j ? Math.sqrt(sum) : sum / (matrix[j * size + j] as number)
    }
  }
  return matrix
}

/** L^-1 b. */
function forward(lower: Float64Array, b: Float64Array): Float64Array {
  const size = b.length
  const x = b.slice()
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < i; k++) x[i] = (x[i] as number) - (lower[i * size + k] as number) * (x[k] as number)
    x[i] = (x[i] as number) / (lower[i * size + i] as number)
  }
  return x
}

/** (L L')^-1 b. */
function solve(lower: Float64Array, b: Float64Array): Float64Array {
  const size = b.length
  const x = forward(lower, b)
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) x[i] = (x[i] as number) - (lower[k * size + i] as number) * (x[k] as number)
    x[i] = (x[i] as number) / (lower[i * size + i] as number)
  }
  return x
}
