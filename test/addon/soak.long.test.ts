import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'

const SECONDS = Number(process.env.SOAK_SECONDS ?? 120)

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

test(
  'memory of a process that trains, scores, rolls out and cancels all day stays where it is',
  async () => {
    const file = fileURLToPath(new URL('./soak-child.js', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file], {
      env: { ...process.env, SOAK_SECONDS: String(SECONDS) },
    })
    const megabytes = JSON.parse(stdout) as number[]
    const third = Math.floor(megabytes.length / 3)
    expect(third).toBeGreaterThan(3)
    const [middle, last] = [mean(megabytes.slice(third, 2 * third)), mean(megabytes.slice(2 * third))]
    // Allocators settle in the first third; a model that leaked each round would be some hundred kilobytes of each.
    expect(last - middle).toBeLessThan(Math.max(15, 0.02 * third))
  },
  SECONDS * 1000 + 60_000,
)
