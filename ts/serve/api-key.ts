import { createHash, timingSafeEqual } from 'node:crypto'
import { argumentError } from '../errors.js'

/**
 * What a header can carry after `Bearer`: with a space or line break in it, or a letter that HTTP has no bytes for, a key matches nothing.
 * @throws E_CONFIG naming `argument`; the key itself is not told
 */
export function checkApiKey(key: unknown, argument: string): string {
  const expected = 'visible ASCII characters, no spaces or line breaks'
  if (typeof key !== 'string') throw argumentError('E_CONFIG', argument, expected, key === null ? 'null' : typeof key)
  if (key === '') throw argumentError('E_CONFIG', argument, expected, 'an empty text')
  const wrong = key.search(/[^\x21-\x7e]/)
  if (wrong < 0) return key
  const code = (key.codePointAt(wrong) as number).toString(16).toUpperCase().padStart(4, '0')
  throw argumentError('E_CONFIG', argument, expected, `U+${code} at position ${wrong + 1} of ${key.length}`)
}

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
