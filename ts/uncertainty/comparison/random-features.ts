import { callNative } from '../../addon/call.js'
import { loadAddon } from '../../addon/load.js'
import { Random } from '../../data/random.js'
import type { PairFeatures } from '../../training/types.js'
import type { LayerFeatures } from '../layers.js'
import type { RandomBase } from './config.js'

/**
 * Rows x = m + sum_k s_k z_k q_k with s_k^2 proportional to k^-decay along an orthonormal basis q that no axis is part of (Adam works
 * axis by axis), |m|^2 the common share of the mean squared norm. The preferred side of a pair is drawn by Bradley-Terry from a head
 * that is known: its share along a direction is as large as that direction's.
 */
export async function randomFeatures(base: RandomBase, signal?: AbortSignal): Promise<LayerFeatures> {
  const { pairs, heldOut } = base
  const world = new World(base)
  const features = await drawPairs(world, pairs, Random.from(base.seed, 'random-features', 'train'), signal)
  const held = await drawPairs(world, heldOut, Random.from(base.seed, 'random-features', 'held-out'), signal)
  return { layer: 1, features, heldOut: held }
}

/** Reflections whose product is the basis: three are enough to spread every axis over all. */
const REFLECTIONS = 3

class World {
  readonly hidden: number
  readonly #deviations: Float64Array
  readonly #common: Float64Array
  readonly #mirrors: Float64Array[]
  /** Along the same directions as the deviations, before the rotation. */
  readonly #truth: Float64Array

  constructor({ hidden, squaredNorm, commonShare, decay, margin, seed }: RandomBase) {
    this.hidden = hidden
    const random = Random.from(seed, 'random-features', 'world')
    const unit = (stream: Random) => {
      const values = Float64Array.from({ length: hidden }, () => stream.normal())
      const norm = Math.hypot(...values)
      return values.map((value) => value / norm)
    }
    const shares = Float64Array.from({ length: hidden }, (_, k) => (k + 1) ** -decay)
    const total = shares.reduce((sum, share) => sum + share, 0)
    this.#deviations = shares.map((share) => Math.sqrt((squaredNorm * (1 - commonShare) * share) / total))
    this.#common = unit(random.split('common')).map((value) => value * Math.sqrt(squaredNorm * commonShare))
    this.#mirrors = Array.from({ length: REFLECTIONS }, (_, mirror) => unit(random.split('mirror', mirror)))
    const truth = random.split('truth')
    const direction = Float64Array.from({ length: hidden }, () => truth.normal())
    // The margin is a difference of two rows: twice the variance of one.
    const variance = direction.reduce((sum, value, k) => sum + 2 * (value * (this.#deviations[k] as number)) ** 2, 0)
    this.#truth = direction.map((value) => (value * margin) / Math.sqrt(variance))
  }

  /** Writes one row and returns its true reward. */
  draw(row: Float32Array, random: Random): number {
    const x = this.#deviations.map((deviation) => deviation * random.normal())
    const reward = x.reduce((sum, value, k) => sum + value * (this.#truth[k] as number), 0)
    for (let k = 0; k < x.length; k++) x[k] = (x[k] as number) + (this.#common[k] as number)
    for (const mirror of this.#mirrors) {
      const along = 2 * x.reduce((sum, value, k) => sum + value * (mirror[k] as number), 0)
      for (let k = 0; k < x.length; k++) x[k] = (x[k] as number) - along * (mirror[k] as number)
    }
    row.set(x)
    return reward
  }
}

/** Pairs between two looks at the signal. */
const CHUNK = 256

async function drawPairs(world: World, count: number, random: Random, signal?: AbortSignal): Promise<PairFeatures> {
  const { hidden } = world
  const values = new Float32Array(2 * count * hidden)
  const row = (index: number) => values.subarray(index * hidden, (index + 1) * hidden)
  const chosen = new Int32Array(count)
  for (let pair = 0; pair < count; pair++) {
    if (pair % CHUNK === 0) {
      await new Promise(setImmediate)
      signal?.throwIfAborted()
    }
    const margin = world.draw(row(2 * pair), random) - world.draw(row(2 * pair + 1), random)
    chosen[pair] = 2 * pair + (random.uniform() < 1 / (1 + Math.exp(-margin)) ? 0 : 1)
  }
  const cache = await callNative({ signal }, (call) => loadAddon().createFeatureCache(values, 2 * count, hidden, call))
  return { cache, chosen, rejected: chosen.map((at) => at ^ 1) }
}
