/**
 * File patterns: `*` and `?` stay within one folder, `**` crosses folders, `[abc]` is a set. A pattern without a slash is
 * matched against the whole path like any other, so `*.safetensors` takes the files at the top alone.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  return patternExpression(pattern).test(path)
}

export function matchesAny(path: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matchesPattern(path, pattern))
}

/** Whether text holds characters that make it a pattern. */
export function isPattern(text: string): boolean {
  return /[*?[]/.test(text)
}

function patternExpression(pattern: string): RegExp {
  let source = ''
  for (let at = 0; at < pattern.length; at++) {
    const rest = pattern.slice(at)
    const set = /^\[(!?)([^\]]+)\]/.exec(rest)
    if (rest.startsWith('**/')) {
      source += '(?:.*/)?'
      at += 2
    } else if (rest.startsWith('**')) {
      source += '.*'
      at += 1
    } else if (rest.startsWith('*')) source += '[^/]*'
    else if (rest.startsWith('?')) source += '[^/]'
    else if (set !== null) {
      source += `[${set[1] === '!' ? '^' : ''}${(set[2] as string).replace(/[\\^]/g, '\\$&')}]`
      at += set[0].length - 1
    } else source += rest[0]?.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
  }
  return new RegExp(`^${source}$`, 's')
}
