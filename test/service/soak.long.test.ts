import { expect, test } from '@jest/globals'
import { soak } from './soak.js'

test(
  'memory is flat over 20,000 requests',
  async () => {
    const { good, malformed, errors, megabytes, code } = await soak(20_000)
    expect({ total: good + malformed, errors, code }).toEqual({ total: 20_000, errors: 0, code: 0 })
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    const growth = mean(megabytes.slice(7)) - mean(megabytes.slice(4, 7))
    // 1.6 kB of each of the 6,000 requests between the two would be 10 MB.
    if (growth > 10) throw new Error(`memory grew by ${growth} MB: ${megabytes.map(Math.round)}`)
  },
  20 * 60_000,
)
