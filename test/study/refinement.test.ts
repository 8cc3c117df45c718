import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import {
  type FinalKl,
  type MatchOptions,
  type RefinementOptions,
  refineBeta,
  trainMatched,
} from '../../ts/study/refinement.js'
import { StageStore } from '../../ts/study/stages.js'

const options: RefinementOptions = { firstBeta: 0.5, slope: -1.5, tolerance: 0.03, limit: 2 }
const TARGET = 1.6

/** What an arm measures when its mean KL at a beta is `klOf(beta)`. */
const measuring = (klOf: (beta: number, attempt: number) => number) => async (beta: number, attempt: number) => {
  const kl = klOf(beta, attempt)
  const estimate = kl / TARGET - 1
  return { kl, target: TARGET, difference: { estimate, low: estimate - 0.1, high: estimate + 0.1 } }
}
/** KL at the calibrated beta is `start` times the target and falls with a power of beta. */
const power = (start: number, exponent: number) => (beta: number) => TARGET * start * (beta / 0.5) ** exponent

describe('refinement of beta by final KL', () => {
  test('an arm that matches is not trained again', async () => {
    const { attempts, used } = await refineBeta(measuring(power(0.98, -2)), options)
    expect(attempts.map(({ beta, matched }) => ({ beta, matched }))).toEqual([{ beta: 0.5, matched: true }])
    expect(used).toBe(0)
  })

  test.each([
    [0.9, -1.5],
    [1.2, -1.5],
    [0.85, -2.2],
    [1.15, -0.9],
    [0.94, -0.6],
  ])('from %d of the target, KL ~ beta^%d: matched within the limit', async (start, exponent) => {
    const { attempts, used } = await refineBeta(measuring(power(start, exponent)), options)
    expect(attempts[used]?.matched).toBe(true)
    expect(attempts.length).toBeGreaterThan(1)
    expect(used).toBe(attempts.length - 1)
    // A KL that is too low asks for less beta.
    expect(Math.sign((attempts[1]?.beta ?? 0) - 0.5)).toBe(Math.sign(start - 1))
  })

  test('without a slope from calibration it still arrives, by the secant of its attempts', async () => {
    const { attempts, used } = await refineBeta(measuring(power(0.8, -2.5)), { ...options, slope: null })
    expect(attempts[used]?.matched).toBe(true)
  })

  test('noise of a mean over forty policies: nine of ten end within the tolerance', async () => {
    const random = Random.from(4, 'refinement noise')
    let matched = 0
    for (let run = 0; run < 200; run += 1) {
      const start = Math.exp(random.normal(0, 0.06))
      const klOf = (beta: number) => power(start, -1.5)(beta) * Math.exp(random.normal(0, 0.015))
      const { attempts, used } = await refineBeta(measuring(klOf), options)
      if (attempts[used]?.matched) matched += 1
    }
    expect(matched).toBeGreaterThan(180)
  })

  test('stops at the limit, never tries a beta twice, and the nearest attempt is used though it does not match', async () => {
    const kls = [1.2, 1.5, 1.3, 1.4]
    const stubborn = measuring((_, attempt) => kls[attempt] as number)
    const { attempts, used } = await refineBeta(stubborn, { ...options, limit: 3 })
    expect(attempts.map((attempt) => attempt.kl)).toEqual(kls)
    expect(attempts.some((attempt) => attempt.matched)).toBe(false)
    expect(used).toBe(1)
    expect(new Set(attempts.map((attempt) => attempt.beta)).size).toBe(4)
    expect(Math.min(...attempts.map((attempt) => attempt.beta))).toBeGreaterThan(0)
  })

  test('limit 0: trained once, whatever comes out', async () => {
    const { attempts, used } = await refineBeta(measuring(power(0.5, -2)), { ...options, limit: 0 })
    expect(attempts).toHaveLength(1)
    expect({ used, matched: attempts[0]?.matched }).toEqual({ used: 0, matched: false })
  })

  test('a slope that noise turned over does not throw beta far', async () => {
    const noise = [1.5, 1.51, 1.49]
    const { attempts } = await refineBeta(
      measuring((_, attempt) => noise[attempt] as number),
      options,
    )
    for (const attempt of attempts) expect(Math.abs(Math.log(attempt.beta / 0.5))).toBeLessThan(0.5)
  })
})

const match: MatchOptions = {
  ...options,
  baseline: 'anchored/vanilla',
  level: 0.95,
  resamples: 200,
  random: () => Random.from(1, 'draws'),
}
const HEADS = Array.from({ length: 8 }, (_, i) => ({ ensemble: i >> 2, head: i & 3 }))
/** Heads differ in KL; an arm's mean is `mean`. */
const arm = (mean: number): FinalKl[] =>
  HEADS.map((head, i) => ({ ...head, finalKl: mean * (1 + 0.2 * Math.sin(2.1 * i + 0.4)) }))
const meanKl = (policies: readonly FinalKl[]) =>
  policies.reduce((sum, policy) => sum + policy.finalKl, 0) / policies.length

describe('an arm matched to its baseline', () => {
  test('hands over the policies of the used attempt and tells all attempts', async () => {
    const baseline = arm(TARGET)
    const train = async (beta: number, attempt: number) =>
      arm(power(0.85, -2)(beta)).map((policy) => ({ ...policy, beta, attempt }))
    const { beta, policies, refinement } = await trainMatched(train, baseline, match)
    const used = refinement.attempts.findIndex((attempt) => attempt.used)
    expect(refinement.attempts.filter((attempt) => attempt.used)).toHaveLength(1)
    expect(policies.every((policy) => policy.beta === beta && policy.attempt === used)).toBe(true)
    expect(beta).toBe(refinement.attempts[used]?.beta)
    expect(refinement.attempts[0]).toMatchObject({ beta: 0.5, matched: false, used: false })
    expect(refinement.attempts[0]?.difference.estimate).toBeCloseTo(meanKl(arm(0.85)) / meanKl(arm(1)) - 1, 12)
    expect(refinement).toMatchObject({ baseline: 'anchored/vanilla', tolerance: 0.03, limit: 2, matched: true })
    expect(refinement.targetKl).toBeCloseTo(meanKl(baseline), 12)
  })

  test('never reads a reward', async () => {
    const sealed = (policy: FinalKl) =>
      new Proxy(policy, {
        get(target, key) {
          if (key === 'ensemble' || key === 'head' || key === 'finalKl') return target[key]
          throw new Error(`read ${String(key)}`)
        },
        ownKeys: () => {
          throw new Error('listed the fields')
        },
      })
    const train = async (beta: number) => arm(power(0.8, -2)(beta)).map(sealed)
    const { policies, refinement } = await trainMatched(train, arm(TARGET).map(sealed), match)
    expect(refinement.attempts.length).toBeGreaterThan(1)
    expect(() => Reflect.get(policies[0] as FinalKl, 'truth')).toThrow('read truth')
  })

  test('rewards that favour another attempt change nothing', async () => {
    const outcome = (rewardOf: (attempt: number) => number) =>
      trainMatched(
        async (beta, attempt) => arm(power(0.85, -2)(beta)).map((policy) => ({ ...policy, truth: rewardOf(attempt) })),
        arm(TARGET),
        match,
      ).then(({ beta, refinement }) => ({ beta, refinement }))
    expect(await outcome((attempt) => attempt)).toEqual(await outcome((attempt) => -attempt))
  })

  test('an arm on fewer ensembles is matched on the heads that it has', async () => {
    const baseline = arm(TARGET).map((policy) => (policy.ensemble === 1 ? { ...policy, finalKl: 50 } : policy))
    const first = (policies: FinalKl[]) => policies.filter((policy) => policy.ensemble === 0)
    const { refinement } = await trainMatched(async () => first(arm(TARGET)), baseline, match)
    expect(refinement.targetKl).toBeCloseTo(meanKl(first(arm(TARGET))), 12)
    expect(refinement.matched).toBe(true)
  })
})

describe('refinement that is stopped', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'prudent-refinement-'))
  })
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  /** A study's arm: an attempt is a stage, a policy a unit; dies before training policy number `failAt`. */
  const run = (made: string[], failAt: number) => {
    const store = new StageStore(folder)
    const train = async (beta: number, attempt: number) => {
      const stage = await store.sharedStage(`arm-${attempt}`, [beta], async (context) => {
        const units = arm(power(0.7, -0.5)(beta)).map((policy, i) => ({
          name: `policy-${i}`,
          work: async () => {
            if (made.length === failAt) throw new Error('killed')
            made.push(`${attempt}/${i}`)
            return policy
          },
        }))
        return store.units(context, units, { width: 1 })
      })
      return stage.value
    }
    return trainMatched(train, arm(TARGET), match)
  }

  test('goes on after a kill at any policy, trains none twice and ends the same', async () => {
    const whole: string[] = []
    const expected = (await run(whole, -1)).refinement
    expect(expected.attempts).toHaveLength(3)
    for (let failAt = 1; failAt < whole.length; failAt += 1) {
      await rm(folder, { recursive: true, force: true })
      const made: string[] = []
      await expect(run(made, failAt)).rejects.toThrow('killed')
      const resumed = await run(made, -1)
      expect(resumed.refinement).toEqual(expected)
      expect(made).toEqual(whole)
    }
  })
})
