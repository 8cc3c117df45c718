/** Byte-pair merges learnt from word counts: most frequent pair first, ties by text. */
export function learnMerges(wordCounts, symbolsOf, limit) {
  const words = [...wordCounts].map(([word, count]) => ({ symbols: symbolsOf(word), count }))
  const merges = []
  while (merges.length < limit) {
    const counts = new Map()
    for (const { symbols, count } of words) {
      for (let i = 0; i + 1 < symbols.length; i += 1) {
        const pair = `${symbols[i]} ${symbols[i + 1]}`
        counts.set(pair, (counts.get(pair) ?? 0) + count)
      }
    }
    const best = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]
    if (!best || best[1] < 2) break
    const [left, right] = best[0].split(' ')
    merges.push([left, right])
    for (const word of words) word.symbols = mergePair(word.symbols, left, right)
  }
  return merges
}

function mergePair(symbols, left, right) {
  const merged = []
  for (let i = 0; i < symbols.length; i += 1) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      merged.push(left + right)
      i += 1
    } else merged.push(symbols[i])
  }
  return merged
}

/** GPT-2's printable stand-ins for the 256 bytes, in byte order. */
export function byteAlphabet() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let extra = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : extra++))
}
