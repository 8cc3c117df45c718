import { createHash, timingSafeEqual } from 'node:crypto'

/**
 * Whether an Authorization header holds the key: as `Bearer KEY`, or as the password of `Basic`, so that a browser can ask for it. Digests
 * of equal length are compared in constant time, so that neither the key's length nor its beginning can be guessed from answers.
 */
export function apiKeyChecker(key: string): (header: string | undefined) => boolean {
  const expected = digest(key)
  return (header) => timingSafeEqual(digest(givenKey(header)), expected)
}

function givenKey(header: string | undefined): string {
  const [, scheme, value] = /^(Bearer|Basic) +(\S+)$/i.exec(header ?? '') ?? []
  if (scheme === undefined || value === undefined) return ''
  if (scheme.toLowerCase() === 'bearer') return value
  const text = Buffer.from(value, 'base64').toString('utf8')
  return text.slice(text.indexOf(':') + 1)
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
