// Seeded token rows with the lengths of the jobs. Ids avoid the special ones (pad, eos, bos …), which padded peers would trip over.

import { Random } from './random.mjs'
import { median } from './statistics.mjs'

const FIRST_ID = 10

export function tokens(random, length, vocabSize) {
  return Array.from({ length }, () => random.integer(FIRST_ID, vocabSize - 1))
}

/** Log-normal lengths, clipped. */
export function logNormalLengths(random, count, { median: middle, sigma, shortest, longest }) {
  return Array.from({ length: count }, () =>
    Math.round(Math.min(longest, Math.max(shortest, middle * Math.exp(sigma * random.normal())))),
  )
}

/** Rows of mixed length: the texts of job 1. */
export function mixedRows({ seed, rows, vocabSize, lengths }) {
  const random = new Random(seed)
  return logNormalLengths(random, rows, lengths).map((length) => tokens(random, length, vocabSize))
}

/** Preference pairs whose answers follow one prompt; `share` of a row's tokens are the prompt's, in the median. */
export function sharedPromptPairs({ seed, pairs, vocabSize, lengths, share }) {
  const random = new Random(seed)
  const totals = logNormalLengths(random, pairs, lengths)
  const chosen = []
  const rejected = []
  for (const total of totals) {
    const wanted = Math.min(0.95, Math.max(0.05, share + 0.1 * random.normal()))
    const prompt = tokens(random, Math.max(1, Math.round(total * wanted)), vocabSize)
    const answer = Math.max(2, total - prompt.length)
    const other = Math.max(2, Math.round(answer * Math.exp(0.2 * random.normal())))
    chosen.push([...prompt, ...tokens(random, answer, vocabSize)])
    rejected.push([...prompt, ...tokens(random, other, vocabSize)])
  }
  return { chosen, rejected }
}

/** Pairs of one length. */
export function equalPairs({ seed, pairs, vocabSize, length }) {
  const random = new Random(seed)
  const rows = () => Array.from({ length: pairs }, () => tokens(random, length, vocabSize))
  return { chosen: rows(), rejected: rows() }
}

/** Prompts of lengths drawn evenly from [shortest, longest]. */
export function prompts({ seed, rows, vocabSize, shortest, longest }) {
  const random = new Random(seed)
  return Array.from({ length: rows }, () => tokens(random, random.integer(shortest, longest + 1), vocabSize))
}

export function totalTokens(rows) {
  return rows.reduce((sum, row) => sum + row.length, 0)
}

/** Of two rows: how many tokens they begin with in common. */
export function commonPrefix(a, b) {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}

/** Tokens of all pairs with and without computing the common prefix twice, the prefixes' lengths and their median share of a row. */
export function prefixSaving({ chosen, rejected }) {
  const shared = chosen.map((row, pair) => commonPrefix(row, rejected[pair]))
  const all = totalTokens(chosen) + totalTokens(rejected)
  const share = median(shared.map((prefix, pair) => (2 * prefix) / (chosen[pair].length + rejected[pair].length)))
  return { all, once: all - shared.reduce((sum, prefix) => sum + prefix, 0), shared, share }
}
