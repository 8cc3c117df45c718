/**
 * File patterns: `*` and `?` stay within one folder, `**` crosses folders, `[abc]` is a set. A pattern without a slash is
 * matched against the whole path like any other, so `*.safetensors` takes the files at the top alone.
 *
 * Patterns come from data sets of the hub too: the time is at most the product of both lengths, whatever they hold, which
 * a regular expression of the same meaning does not promise.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  const parts = parse(pattern)
  // Whether the characters so far bring us to part i, or were taken by it.
  let arrived = passOver(parts, [true, ...parts.map(() => false)])
  let stayed = parts.map(() => false)
  for (const character of path) {
    const taken = parts.map((part, index) => Boolean(arrived[index] || stayed[index]) && part.takes(character))
    stayed = taken.map((value, index) => value && (parts[index] as Part).repeats)
    // Part i leads to part i + 1, whether it is done or could take more.
    arrived = passOver(parts, [false, ...taken])
  }
  return arrived[parts.length] as boolean
}

export function matchesAny(path: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matchesPattern(path, pattern))
}

/** Whether text holds characters that make it a pattern. */
export function isPattern(text: string): boolean {
  return /[*?[]/.test(text)
}

interface Part {
  takes(character: string): boolean
  /** Stands for any number of characters, none among them. */
  repeats: boolean
  /** May be left out together with the slash behind it: `**` of `**` + `/`. */
  skips: number
}

const within = (character: string) => character !== '/'
const any = () => true

/** Parts that may stand for nothing are passed at once; `**` + `/` as a whole only where no character was taken by it. */
function passOver(parts: readonly Part[], arrived: boolean[]): boolean[] {
  for (const [index, part] of parts.entries()) {
    if (!arrived[index] || !part.repeats) continue
    arrived[index + 1] = true
    if (part.skips > 0) arrived[index + part.skips] = true
  }
  return arrived
}

function parse(pattern: string): Part[] {
  const parts: Part[] = []
  const characters = [...pattern]
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] as string
    if (character === '*' && characters[at + 1] === '*') {
      at++
      // `**` + `/` is any number of whole folders, so what follows begins a name.
      const folders = characters[at + 1] === '/'
      if (folders) at++
      parts.push({ takes: any, repeats: true, skips: folders ? 2 : 0 })
      if (folders) parts.push(literal('/'))
    } else if (character === '*') parts.push({ takes: within, repeats: true, skips: 0 })
    else if (character === '?') parts.push({ takes: within, repeats: false, skips: 0 })
    else {
      const set = character === '[' ? setAt(characters, at) : null
      if (set !== null) at = set.end
      parts.push(set?.part ?? literal(character))
    }
  }
  return parts
}

function literal(expected: string): Part {
  return { takes: (character) => character === expected, repeats: false, skips: 0 }
}

/** `[abc]`, `[a-z]`, `[!abc]`; a bracket that none closes stands for itself. */
function setAt(characters: readonly string[], at: number): { part: Part; end: number } | null {
  const negated = characters[at + 1] === '!'
  const begin = at + (negated ? 2 : 1)
  const end = characters.indexOf(']', begin + 1)
  if (end < 0) return null
  const members = characters.slice(begin, end)
  const holds = (character: string) => inSet(members, character)
  return { part: { takes: (character) => holds(character) !== negated, repeats: false, skips: 0 }, end }
}

function inSet(members: readonly string[], character: string): boolean {
  for (let index = 0; index < members.length; index++) {
    const first = members[index] as string
    const last = members[index + 1] === '-' && index + 2 < members.length ? (members[index + 2] as string) : first
    if (last !== first) index += 2
    if (character >= first && character <= last) return true
  }
  return false
}
