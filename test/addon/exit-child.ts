/** A process that ends at the stage that it is told. */
import { loadAddon } from '../../ts/addon/load.js'
import { createScorer, LARGE, longRows, SMALL_BATCH } from './small-models.js'

const stage = process.argv[2]
const addon = loadAddon()
if (stage === 'loaded') process.exit(7)
if (stage === 'idle') {
  // Nothing open: the process ends by itself, threads and undisposed models or not.
  const model = await createScorer(1)
  await model.score({ ids: Int32Array.of(3, 4), lengths: Int32Array.of(2) }, SMALL_BATCH)
  process.exitCode = 7
} else if (stage === 'loading') {
  void createScorer(1, LARGE)
  process.exit(7)
} else {
  const model = await createScorer(1, LARGE)
  const running = new Promise<void>((resolve) => {
    const token = addon.createCancelToken()
    const calls = Array.from({ length: 10 }, () =>
      model.score(longRows(), stage === 'one-batch' ? { batchTokens: 1 << 20 } : SMALL_BATCH, {
        token,
        progress: () => resolve(),
      }),
    )
    for (const call of calls) call.catch(() => {})
  })
  if (stage === 'one-batch') await new Promise((resolve) => setTimeout(resolve, 30))
  else await running
  if (stage === 'throw') throw new Error('uncaught')
  if (stage === 'signal') process.kill(process.pid, 'SIGTERM')
  else if (stage === 'disposing') {
    void model.dispose()
    process.exit(7)
  } else process.exit(7)
}
