import { expect, jest, test } from '@jest/globals'
import { GOOD_SHARE, soak } from './soak.js'

jest.setTimeout(120_000)

test('two thousand requests, a third of them malformed: each is answered, memory stays, the server ends with 0', async () => {
  const { good, malformed, errors, megabytes, code } = await soak(2000)
  expect({ total: good + malformed, errors, code }).toEqual({ total: 2000, errors: 0, code: 0 })
  // Connections are cut off within their cycle.
  expect(Math.abs(good / 2000 - GOOD_SHARE)).toBeLessThan(0.1)
  // V8 and allocators grow to their working size within the first half.
  const growth = (megabytes[9] as number) - (megabytes[4] as number)
  if (growth > 40) throw new Error(`memory grew by ${growth} MB: ${megabytes.map(Math.round)}`)
})
