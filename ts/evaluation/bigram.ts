/** The bar for a language model: perplexity of a bigram model on the same tokens. */

export interface BigramOptions {
  vocabSize: number
  /** Weights of the unigram distribution that are tried; the best on the held-out rows counts, which favours the bigram. */
  smoothing?: readonly number[]
}

/** Perplexity per token after the first of each held-out row; bigram counts smoothed with the unigram distribution. */
export function bigramPerplexity(
  train: readonly Int32Array[],
  heldOut: readonly Int32Array[],
  options: BigramOptions,
): number {
  const { vocabSize } = options
  const pairs = new Map<number, number>()
  const firsts = new Float64Array(vocabSize)
  const unigrams = new Float64Array(vocabSize).fill(1)
  for (const row of train) {
    for (let i = 1; i < row.length; i += 1) {
      const [previous, next] = [row[i - 1] as number, row[i] as number]
      pairs.set(previous * vocabSize + next, (pairs.get(previous * vocabSize + next) ?? 0) + 1)
      firsts[previous] = (firsts[previous] as number) + 1
      unigrams[next] = (unigrams[next] as number) + 1
    }
  }
  const total = unigrams.reduce((sum, value) => sum + value, 0)
  const perplexity = (weight: number) => {
    let [loss, tokens] = [0, 0]
    for (const row of heldOut) {
      for (let i = 1; i < row.length; i += 1) {
        const [previous, next] = [row[i - 1] as number, row[i] as number]
        const seen = pairs.get(previous * vocabSize + next) ?? 0
        loss -= Math.log(
          (seen + (weight * (unigrams[next] as number)) / total) / ((firsts[previous] as number) + weight),
        )
        tokens += 1
      }
    }
    return Math.exp(loss / tokens)
  }
  return Math.min(...(options.smoothing ?? [0.1, 1, 3, 10, 30, 100]).map(perplexity))
}
