/** Prints resident memory over many calls, and over many models that nobody disposes of. Run with --expose-gc. */
import { join } from 'node:path'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeAddon } from '../../ts/addon/native.js'
import { addonFolder } from '../../ts/addon/places.js'
import { createScorer, LARGE, longRows, rowsOf, SMALL_BATCH } from './small-models.js'

const collect = globalThis.gc as () => void
const settle = async () => {
  for (let turn = 0; turn < 4; turn++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
}
async function measure(body: () => Promise<void>): Promise<number[]> {
  const sizes: number[] = []
  for (let round = 0; round < 6; round++) {
    await body()
    await settle()
    sizes.push(process.memoryUsage.rss() / 2 ** 20)
  }
  return sizes
}

const addon = loadAddon()
const model = await createScorer(2)
const calls = await measure(async () => {
  const token = addon.createCancelToken()
  for (let call = 0; call < 60; call++) {
    await model.score(rowsOf([5, 6, 7]), SMALL_BATCH, { token, progress: () => {} })
    await addon.ops.bradleyTerry({ chosen: new Float32Array(3000), rejected: new Float32Array(3000), shape: [1000, 3] })
    await model.score(rowsOf([5]), { batchTokens: 0 }).catch(() => {})
  }
})
// 3 MB of weights each: twenty of them would be 60 MB a round.
const models = await measure(async () => {
  for (let count = 0; count < 20; count++) await createScorer(2, { hidden: 192, layers: 2 })
})
const features = await measure(async () => {
  for (let count = 0; count < 40; count++) await model.cacheFeatures(rowsOf([5, 6, 7]), SMALL_BATCH)
})

// A handle that nobody holds any more finishes its call.
const pending = (await createScorer(1, LARGE)).score(longRows(8), SMALL_BATCH)
await settle()
const dropped = (await pending).length

// The addon loaded twice into one environment: two sets of exports, one executor.
const again = { exports: {} as NativeAddon }
process.dlopen(again, join(addonFolder(), 'prudent.node'))
const twice = again.exports !== addon && again.exports.systemInfo().threads.lanes === addon.systemInfo().threads.lanes

process.stdout.write(JSON.stringify({ sizes: { calls, models, features }, dropped, twice }))
