import { describe, expect, test } from '@jest/globals'
import * as z from 'zod'
import { loadConfig } from '../../ts/config/load.js'
import { relativeError } from '../../ts/study/calibration.js'
import { studyConfigSchema } from '../../ts/study/config.js'
import { relativeDifference } from '../../ts/study/statistics/intervals.js'
import { checkedSummary } from '../../ts/study/summary.js'

describe('a summary that cannot be written names what is wrong', () => {
  const schema = z.strictObject({ arms: z.array(z.strictObject({ kl: z.number() })) })
  test('whole', () => expect(checkedSummary(schema, { arms: [{ kl: 1 }] })).toEqual({ arms: [{ kl: 1 }] }))
  test.each([
    [Number.NaN, 'E_NON_FINITE', 'summary.json: arms.1.kl: Invalid input: expected number, received NaN'],
    [Number.NEGATIVE_INFINITY, 'E_NON_FINITE', 'received -Infinity'],
    ['much', 'E_INTERNAL', 'summary.json: arms.1.kl: Invalid input: expected number, received string'],
  ])('%p', (kl, code, message) => {
    const failure = expect(() => checkedSummary(schema, { arms: [{ kl: 0 }, { kl }] }))
    failure.toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })
})

test('policies that did not move have no KL, and are as far from the reference as each other', () => {
  expect(relativeError(0, 0)).toBe(0)
  expect(relativeError(1, 2)).toBe(0.5)
  const draws = [Int32Array.of(0, 0), Int32Array.of(1, 1)]
  const none = [0, 0]
  expect(relativeDifference(none, none, { level: 0.9, draws })).toEqual({ estimate: 0, low: 0, high: 0 })
})

test.each(['evaluation.responses=1', 'evaluation.gateSamples=1'])('%s is too few to compare', async (set) => {
  await expect(loadConfig(studyConfigSchema, 'configs/laptop-smoke.yaml', { set: [set] })).rejects.toMatchObject({
    code: 'E_CONFIG',
    message: expect.stringContaining('expected a number >= 2'),
  })
})
