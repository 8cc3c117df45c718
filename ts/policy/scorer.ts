import { callNative } from '../addon/call.js'
import { packRows } from '../data/batching.js'
import { retokenise } from '../data/retokenise.js'
import { keepPrefix, templatePrefix } from '../data/template-prefix.js'
import { argumentError } from '../errors.js'
import type { HeadScores, ModelScorerOptions, Scorer } from './types.js'

type ScoreRows = (rows: Int32Array[], signal: AbortSignal | undefined) => Promise<Float32Array>

/**
 * Scores with a sequence classifier, one output a head, and the columns of its uncertainty source after them: responses are decoded by the policy's tokenizer, put into the scorer's
 * chat template and encoded by the scorer's tokenizer. What that template begins every text with is kept by the model from the first scores on.
 */
export function modelScorer(options: ModelScorerOptions): Scorer {
  const { model, batchTokens, sharePrefixes = true, batcher, group } = options
  const ready = sharePrefixes || batcher !== undefined ? preparation(options) : async () => {}
  if (batcher === undefined) {
    return scorerOver(options, ready, (rows, signal) =>
      callNative({ signal }, (call) => model.score(packRows(rows), { batchTokens, sharePrefixes, group }, call)),
    )
  }
  return {
    ...scorerOver(options, ready, (ids, signal) => batcher.scoreValues({ ids }, { signal })),
    join() {
      const member = batcher.join()
      return {
        ...scorerOver(options, ready, (ids, signal) => member.scoreValues({ ids }, { signal })),
        leave: () => member.leave(),
      }
    },
  }
}

/** Done once, before the first scores, so that no score depends on how many came before it. */
function preparation({ model, scorerTokenizer }: ModelScorerOptions): () => Promise<void> {
  let done: Promise<void> | undefined
  const prepare = async () => keepPrefix(model, await templatePrefix(scorerTokenizer))
  return () => {
    done ??= prepare().catch((error) => {
      done = undefined // the next scores try again
      throw error
    })
    return done
  }
}

function scorerOver(options: ModelScorerOptions, ready: () => Promise<void>, scoreRows: ScoreRows) {
  const { model, policyTokenizer, scorerTokenizer, maxLength } = options
  return {
    async score(prompts: readonly string[], responses: readonly Int32Array[], signal?: AbortSignal) {
      const rows = responses.map((responseIds, row) => ({ prompt: prompts[row] as string, responseIds }))
      await ready()
      const encoded = await retokenise(rows, { policy: policyTokenizer, scorer: scorerTokenizer, maxLength })
      const values = await scoreRows(encoded.rows, signal)
      const { numLabels, spread } = model.info()
      const columns = numLabels + spread
      if (spread === 0) return { values, heads: columns, texts: encoded.texts }
      const last = Array.from({ length: spread }, (_, index) => numLabels + index)
      return { values, heads: columns, spread: last, texts: encoded.texts }
    },
  } satisfies Scorer
}

/**
 * The rewards alone, [rows, heads]: without the columns of a spread.
 * @throws E_TYPE
 *
 * @example
 * ```ts
 * import { rewardsOf } from 'prudent/policy'
 *
 * // One reward a row, and two columns whose sum of squares is its variance.
 * const values = Float32Array.of(1, 0.3, 0.4, 2, 0.6, 0.8)
 * console.log([...rewardsOf({ values, heads: 3, spread: [1, 2], texts: [] })].join()) // 1,2
 * ```
 */
export function rewardsOf(scored: HeadScores): Float32Array {
  const { values, heads, spread = [] } = scored ?? {}
  if (!(values instanceof Float32Array)) throw argumentError('E_TYPE', 'values', 'a Float32Array', typeof values)
  if (spread.length === 0) return values
  return values.filter((_, index) => !spread.includes(index % heads))
}
