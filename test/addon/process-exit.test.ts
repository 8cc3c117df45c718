import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

async function end(
  stage: string,
): Promise<{ code: number | null; signal: string | null; stderr: string; seconds: number }> {
  const start = performance.now()
  const child = spawn(process.execPath, [fileURLToPath(new URL('./exit-child.js', import.meta.url)), stage])
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, stderr, seconds: (performance.now() - start) / 1000 }
}

// 'running' polls between small micro-batches; 'one-batch' computes past the moment that exit allows for.
test.each(['loaded', 'idle', 'loading', 'running', 'one-batch', 'disposing'])(
  'process.exit while %s',
  async (stage) => {
    const result = await end(stage)
    expect({ ...result, seconds: 0 }).toEqual({ code: 7, signal: null, stderr: '', seconds: 0 })
    expect(result.seconds).toBeLessThan(20)
  },
)

// The lane is taking its first job at that moment, in one run of forty or so at the one that matters.
test('process.exit while loading, many times, three at once', async () => {
  for (let round = 0; round < 16; round++) {
    const results = await Promise.all(Array.from({ length: 3 }, () => end('loading')))
    for (const { code, signal, stderr } of results)
      expect({ code, signal, stderr }).toEqual({ code: 7, signal: null, stderr: '' })
  }
}, 300_000)

test('an uncaught error while a call runs', async () => {
  const result = await end('throw')
  expect([result.code, result.signal]).toEqual([1, null])
  expect(result.stderr).toContain('uncaught')
})

test('a signal while a call runs', async () => {
  expect(await end('signal')).toMatchObject({ code: null, signal: 'SIGTERM' })
})
