/**
 * Theorem 2.2: how often sup_d Rhat'd - beta |d|_Sigma <= sup_d r*'d over D = {d: |d|_Sigma^2 <= eps}. For this D the event is
 * |Rhat|_{Sigma^-1} <= |r*|_{Sigma^-1} + beta, whatever eps: a noncentral chi-square.
 */

import { inBlocks } from '../data/draws.js'
import type { IntervalEstimate } from '../study/statistics/intervals.js'
import { chiSquareCdf, noncentralChiSquareCdf } from './chi-square.js'
import { probability } from './estimates.js'
import { Normals } from './normals.js'

const DIMENSIONS = [10, 100, 1000]
/** |r*|_{Sigma^-1}, in units of the square root of the dimension. */
const REWARDS = [0, 0.5]
const BETAS = [0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.5, 2]
/** Normals of one dimension and reward. */
const WORK = 10_000_000
const MOST_DRAWS = 100_000

export interface Coverage {
  dimension: number
  reward: number
  beta: number
  simulated: IntervalEstimate
  /** 1 - exp(-n / beta^2), as the theorem is printed. */
  printed: number
  /** 1 - exp(-beta^2 / n), as its proof sets beta. */
  corrected: number
  /** P(chi^2_n <= beta^2): the event that the proof bounds. */
  event: number
  exact: number
}

export async function simulateCoverage(seed: number, signal?: AbortSignal): Promise<Coverage[]> {
  const points: Coverage[] = []
  for (const dimension of DIMENSIONS)
    for (const reward of REWARDS) points.push(...(await coverageOf(dimension, reward, seed, signal)))
  return points
}

async function coverageOf(dimension: number, reward: number, seed: number, signal?: AbortSignal): Promise<Coverage[]> {
  const draws = Math.min(MOST_DRAWS, Math.floor(WORK / dimension))
  const root = Math.sqrt(dimension)
  const length = reward * root
  const normals = new Normals(seed, 'coverage', dimension, String(reward))
  const norms = await drawNorms(dimension, reward, draws, normals, signal)
  return BETAS.map((relative) => {
    const beta = relative * root
    const hits = norms.reduce((sum, norm) => sum + (norm <= length + beta ? 1 : 0), 0)
    return {
      dimension,
      reward: length,
      beta,
      simulated: probability(hits, draws),
      printed: 1 - Math.exp(-dimension / beta ** 2),
      corrected: 1 - Math.exp((-beta * beta) / dimension),
      event: chiSquareCdf(beta * beta, dimension),
      exact: noncentralChiSquareCdf((length + beta) ** 2, dimension, length * length),
    }
  })
}

/** |Sigma^-1/2 Rhat| of each draw: whitened, Rhat is r* plus a standard normal, and r* may lie along the diagonal. */
async function drawNorms(
  dimension: number,
  each: number,
  draws: number,
  normals: Normals,
  signal: AbortSignal | undefined,
): Promise<Float64Array> {
  const z = new Float64Array(dimension)
  const norms = new Float64Array(draws)
  await inBlocks(draws, 1024, signal, (begin, end) => {
    for (let draw = begin; draw < end; draw += 1) {
      normals.fill(z)
      let square = 0
      for (let i = 0; i < dimension; i += 1) square += (each + (z[i] as number)) ** 2
      norms[draw] = Math.sqrt(square)
    }
  })
  return norms
}
