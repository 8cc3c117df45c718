import type { GenerateOptions } from '../addon/native.js'
import type { ResponseSampling } from './settings.js'

/** What native sampling is told. */
export function generateOptions(
  sampling: ResponseSampling,
  options: { eosTokenIds: readonly number[]; seed: number; batchTokens: number },
): GenerateOptions {
  const { stopAtEos, ...rest } = sampling
  return {
    ...rest,
    greedy: false,
    eosTokenIds: stopAtEos ? [...options.eosTokenIds] : [],
    seed: options.seed,
    batchTokens: options.batchTokens,
  }
}
