import { callNative } from '../addon/call.js'
import { packRows } from '../data/batching.js'
import { retokenise } from '../data/retokenise.js'
import type { HeadScores, ModelScorerOptions, Scorer } from './types.js'

type ScoreRows = (rows: Int32Array[], signal: AbortSignal | undefined) => Promise<Float32Array>

/**
 * Scores with a sequence classifier, one output a head, and the columns of its uncertainty source after them: responses are decoded by the policy's tokenizer, put into the scorer's
 * chat template and encoded by the scorer's tokenizer.
 */
export function modelScorer(options: ModelScorerOptions): Scorer {
  const { model, batchTokens, sharePrefixes = true, batcher, group } = options
  if (batcher === undefined) {
    return scorerOver(options, (rows, signal) =>
      callNative({ signal }, (call) => model.score(packRows(rows), { batchTokens, sharePrefixes, group }, call)),
    )
  }
  return {
    ...scorerOver(options, (ids, signal) => batcher.scoreValues({ ids }, { signal })),
    join() {
      const member = batcher.join()
      return {
        ...scorerOver(options, (ids, signal) => member.scoreValues({ ids }, { signal })),
        leave: () => member.leave(),
      }
    },
  }
}

function scorerOver(options: ModelScorerOptions, scoreRows: ScoreRows) {
  const { model, policyTokenizer, scorerTokenizer, maxLength } = options
  return {
    async score(prompts: readonly string[], responses: readonly Int32Array[], signal?: AbortSignal) {
      const rows = responses.map((responseIds, row) => ({ prompt: prompts[row] as string, responseIds }))
      const ready = await retokenise(rows, { policy: policyTokenizer, scorer: scorerTokenizer, maxLength })
      const values = await scoreRows(ready.rows, signal)
      const { numLabels, spread } = model.info()
      const columns = numLabels + spread
      if (spread === 0) return { values, heads: columns, texts: ready.texts }
      const last = Array.from({ length: spread }, (_, index) => numLabels + index)
      return { values, heads: columns, spread: last, texts: ready.texts }
    },
  } satisfies Scorer
}

/** The rewards alone, [rows, heads]: without the columns of a spread. */
export function rewardsOf({ values, heads, spread = [] }: HeadScores): Float32Array {
  if (spread.length === 0) return values
  return values.filter((_, index) => !spread.includes(index % heads))
}
