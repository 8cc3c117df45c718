import { callNative } from '../addon/call.js'
import type { PairFeatures } from '../training/types.js'

/** Features of chosen - rejected, [pairs, hidden] row-major: all that a Bradley-Terry head sees of its pairs. */
export async function pairDifferences(features: PairFeatures, signal?: AbortSignal): Promise<Float32Array> {
  const { hidden } = features.cache.info()
  const values = await callNative({ signal }, (call) => features.cache.toArray(call))
  const differences = new Float32Array(features.chosen.length * hidden)
  features.chosen.forEach((chosen, pair) => {
    const rejected = features.rejected[pair] as number
    for (let k = 0; k < hidden; k++)
      differences[pair * hidden + k] =
        (values[chosen * hidden + k] as number) - (values[rejected * hidden + k] as number)
  })
  return differences
}
