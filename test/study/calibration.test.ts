import { describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import { calibrateBeta } from '../../ts/study/calibration.js'

const options = { target: 1.3, tolerance: 0.03, firstBeta: 0.5, maxTrials: 8 }

/** A Gaussian policy whose reward has standard deviation s under the reference: KL = s^2 / (2 beta^2) at the optimum. */
const gaussian = (s: number) => (beta: number) => s ** 2 / (2 * beta ** 2)
/** Saturates, as a policy does that already sits on its best response. */
const saturating = (beta: number) => 2 * Math.tanh(0.3 / beta)

describe('calibration of beta', () => {
  test.each([0.001, 0.3, 1, 7, 300])('Gaussian toy of scale %d: within 3 % and near the analytic beta', async (s) => {
    const outcome = await calibrateBeta(async (beta) => gaussian(s)(beta), { ...options, maxTrials: 12 })
    expect(outcome.matched).toBe(true)
    expect(Math.abs(outcome.kl / 1.3 - 1)).toBeLessThanOrEqual(0.03)
    expect(Math.abs(outcome.beta / (s / Math.sqrt(2 * 1.3)) - 1)).toBeLessThan(0.02)
  })

  test('a bent curve is bracketed', async () => {
    const outcome = await calibrateBeta(async (beta) => saturating(beta), options)
    expect(outcome.matched).toBe(true)
    expect(outcome.trials.length).toBeLessThanOrEqual(6)
  })

  test('noise of a few percent is lived with', async () => {
    const random = Random.from(2, 'noise')
    const outcome = await calibrateBeta(async (beta) => gaussian(1)(beta) * Math.exp(random.normal(0, 0.03)), options)
    expect(outcome.matched).toBe(true)
  })

  test('a KL that cannot be reached is not called matched, and the trials are told', async () => {
    const outcome = await calibrateBeta(async () => 0.2, options)
    expect(outcome.matched).toBe(false)
    expect(outcome.trials).toHaveLength(options.maxTrials)
    expect(new Set(outcome.trials.map((trial) => trial.beta)).size).toBeGreaterThan(3)
  })

  test('policies that never move, or a beta of zero effect, do not break it', async () => {
    const outcome = await calibrateBeta(async () => 0, options)
    expect(outcome.matched).toBe(false)
    expect(outcome.trials.every((trial) => Number.isFinite(trial.beta) && trial.beta > 0)).toBe(true)
  })
})
