import { expect, test } from '@jest/globals'
import { schedule } from '../../ts/config/blocks.js'
import { learningRate, totalSteps, warmupSteps } from '../../ts/training/schedule.js'

// Values of transformers' get_*_schedule_with_warmup (and get_cosine_with_min_lr_schedule_with_warmup) at peak 2 over ten steps.
const warm = [0, 0.6666666666666666, 1.3333333333333333]
const expected: [string, Parameters<typeof schedule.parse>[0], number[]][] = [
  [
    'cosine',
    { shape: 'cosine', warmupSteps: 3 },
    [
      ...warm,
      2,
      1.900968867902419,
      1.6234898018587336,
      1.2225209339563143,
      0.7774790660436857,
      0.3765101981412665,
      0.09903113209758097,
    ],
  ],
  [
    'cosine without warm-up',
    { shape: 'cosine' },
    [
      ...[2, 1.9510565162951536, 1.8090169943749475, 1.5877852522924731, 1.3090169943749475],
      ...[1, 0.6909830056250527, 0.412214747707527, 0.19098300562505266, 0.04894348370484647],
    ],
  ],
  [
    'linear, warm-up as a ratio that rounds up',
    { shape: 'linear', warmupRatio: 0.21 },
    [
      ...warm,
      2,
      1.7142857142857142,
      1.4285714285714286,
      1.1428571428571428,
      0.8571428571428571,
      0.5714285714285714,
      0.2857142857142857,
    ],
  ],
  ['constant', { shape: 'constant', warmupSteps: 3 }, [...warm, 2, 2, 2, 2, 2, 2, 2]],
  [
    'cosine with a floor',
    { shape: 'cosine', warmupSteps: 3, minRatio: 0.1 },
    [
      ...warm,
      2,
      1.910871981112177,
      1.6611408216728603,
      1.3002688405606828,
      0.8997311594393171,
      0.5388591783271399,
      0.2891280188878229,
    ],
  ],
]

test.each(expected)('%s', (_name, settings, values) => {
  const parsed = schedule.parse(settings)
  for (const [step, value] of values.entries()) expect(learningRate(parsed, 2, step, 10)).toBeCloseTo(value, 12)
  expect(learningRate(parsed, 2.02, 5, 10)).not.toBeCloseTo(values[5] as number, 3)
})

test('steps count as in transformers', () => {
  expect(totalSteps({ epochs: 0.5 }, 4125)).toBe(2063)
  expect(totalSteps({ epochs: 3, steps: 7 }, 4125)).toBe(7)
  expect(totalSteps({ epochs: 0.001 }, 10)).toBe(1)
  expect(warmupSteps(schedule.parse({ warmupRatio: 0.03 }), 4125)).toBe(124)
  expect(warmupSteps(schedule.parse({ warmupRatio: 0.03, warmupSteps: 0 }), 4125)).toBe(0)
})

test('a schedule of warm-up alone and of one step', () => {
  const parsed = schedule.parse({ shape: 'linear', warmupSteps: 10 })
  expect(learningRate(parsed, 1, 9, 10)).toBeCloseTo(0.9, 12)
  expect(learningRate(schedule.parse({ shape: 'cosine' }), 1, 0, 1)).toBe(1)
})
