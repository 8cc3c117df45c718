import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

/** MB that the last third stands above the middle one; in the first allocators settle and code is compiled. */
function growth(megabytes: number[]): number {
  const third = Math.floor(megabytes.length / 3)
  return mean(megabytes.slice(2 * third)) - mean(megabytes.slice(third, 2 * third))
}

/** A rollout or a step's gradients kept alive would be 20 kB a step: 7 MB from one third of a thousand steps to the next. */
const FLAT_MB = 3

test('memory of 1,000 PPO steps and 10,000 score calls beside them stays where it is', async () => {
  const file = fileURLToPath(new URL('./soak-steps-child.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file])
  const megabytes = JSON.parse(stdout) as number[]
  expect(megabytes.length).toBe(100)
  process.stdout.write(
    `resident after 1, 34, 67 and 100 %: ${[0, 33, 66, 99].map((at) => megabytes[at]?.toFixed(1)).join(', ')} MB\n`,
  )
  expect(growth(megabytes)).toBeLessThan(FLAT_MB)
}, 600_000)

test('a leak of 20 kB a step would be seen, and what settles early would not', () => {
  const steady = Array.from({ length: 100 }, (_, at) => 200 + Math.min(at, 20) + (at % 3) / 2)
  expect(growth(steady)).toBeLessThan(FLAT_MB)
  expect(growth(steady.map((value, at) => value + (at * 10 * 20e3) / 2 ** 20))).toBeGreaterThan(FLAT_MB)
})
