import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'

test('memory stays flat over calls and over handles that the garbage collector finds; a dropped handle finishes its call', async () => {
  const file = fileURLToPath(new URL('./memory-child.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file])
  const { sizes, dropped, twice } = JSON.parse(stdout) as {
    sizes: Record<string, number[]>
    dropped: number
    twice: boolean
  }
  expect({ dropped, twice }).toEqual({ dropped: 8, twice: true })
  for (const [name, megabytes] of Object.entries(sizes)) {
    // The first rounds fill pools and caches of allocators.
    const growth = (megabytes[5] as number) - (megabytes[2] as number)
    if (growth > 30) throw new Error(`${name} grew by ${growth} MB: ${megabytes.map(Math.round)}`)
  }
  expect(Object.keys(sizes)).toEqual(['calls', 'models', 'features'])
}, 60_000)
