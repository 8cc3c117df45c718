import { type Document, isAlias, isCollection, isMap, isScalar, parseDocument } from 'yaml'
import { PrudentError } from '../errors.js'

export interface Override {
  /** As typed, `a.b=c`. */
  text: string
  path: string[]
  value: unknown
}

/** `a.b=c`: a path of keys and list positions, and a YAML value (number, true, null, text, [1, 2]). */
export function parseOverride(text: string): Override {
  const equals = text.indexOf('=')
  const path = text.slice(0, Math.max(0, equals)).split('.')
  if (equals < 1 || path.some((part) => part.trim() === '')) {
    throw new PrudentError('E_CONFIG', `--set ${text}: expected key.path=value`, {
      argument: '--set',
      expected: 'key.path=value',
      received: text,
    })
  }
  return { text, path: path.map((part) => part.trim()), value: parseValue(text, text.slice(equals + 1)) }
}

function parseValue(text: string, value: string): unknown {
  const refused = (cause: Error) =>
    new PrudentError('E_CONFIG', `--set ${text}: the value is not YAML: ${cause.message}`, {
      argument: '--set',
      received: text,
      cause,
    })
  const document = parseDocument(value, { prettyErrors: false })
  const broken = document.errors[0]
  if (broken !== undefined) throw refused(broken)
  try {
    return document.toJS()
  } catch (cause) {
    // An alias of nothing is found here alone.
    throw refused(cause as Error)
  }
}

export function applyOverride(document: Document, override: Override): void {
  const { path, text, value } = override
  for (let depth = 1; depth < path.length; depth++) {
    const at = document.getIn(path.slice(0, depth), true)
    if (isAlias(at)) detachAlias(document, path.slice(0, depth))
    const isEmpty = at === undefined || at === null || (isScalar(at) && at.value === null)
    if (isEmpty) document.setIn(path.slice(0, depth), document.createNode({}))
    else if (!isCollection(at) && !isAlias(at)) {
      const parent = path.slice(0, depth).join('.')
      throw new PrudentError('E_CONFIG', `--set ${text}: ${parent} is a single value and has no key ${path[depth]}`, {
        argument: path.join('.'),
      })
    }
  }
  if (document.contents === null) document.contents = document.createNode({}) as unknown as typeof document.contents
  if (path.length === 1 && !isMap(document.contents)) {
    throw new PrudentError('E_CONFIG', `--set ${text}: the file holds no mapping`, { argument: path.join('.') })
  }
  document.setIn(path, document.createNode(value))
}

/** An override below an alias must not change the anchor it refers to. */
function detachAlias(document: Document, path: readonly string[]): void {
  const alias = document.getIn(path, true)
  if (isAlias(alias)) document.setIn(path, document.createNode(alias.resolve(document)?.toJSON() ?? {}))
}
