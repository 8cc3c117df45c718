import { callNative } from '../addon/call.js'
import { packRows } from '../data/batching.js'
import { retokenise } from '../data/retokenise.js'
import type { ModelScorerOptions, Scorer } from './types.js'

/**
 * Scores with a sequence classifier, one output a head: responses are decoded by the policy's tokenizer, put into the scorer's
 * chat template and encoded by the scorer's tokenizer.
 */
export function modelScorer(options: ModelScorerOptions): Scorer {
  const { model, policyTokenizer, scorerTokenizer, maxLength, batchTokens } = options
  return {
    async score(prompts, responses, signal) {
      const rows = responses.map((responseIds, row) => ({ prompt: prompts[row] as string, responseIds }))
      const ready = await retokenise(rows, { policy: policyTokenizer, scorer: scorerTokenizer, maxLength })
      const values = await callNative({ signal }, (call) => model.score(packRows(ready.rows), { batchTokens }, call))
      return { values, heads: model.info().numLabels, texts: ready.texts }
    },
  }
}
