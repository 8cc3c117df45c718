import { readFile } from 'node:fs/promises'
import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml'
import type { z } from 'zod'
import { PrudentError } from '../errors.js'
import { readableIssues } from './issues.js'
import { applyOverride, type Override, parseOverride } from './overrides.js'

export interface LoadOptions {
  /** Overrides of the form `a.b=c`, applied in order. */
  set?: readonly string[]
}

/**
 * Reads a YAML file, applies overrides and checks it against a schema.
 * @throws E_CONFIG with one line per problem: file, line, key path, what was expected and what came. E_NOT_FOUND without file.
 */
export async function loadConfig<Schema extends z.ZodType>(
  schema: Schema,
  file: string,
  options: LoadOptions = {},
): Promise<z.output<Schema>> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    const message = missing ? `${file}: no such configuration file` : `${file}: ${(cause as Error).message}`
    throw new PrudentError(missing ? 'E_NOT_FOUND' : 'E_IO', message, { argument: '--config', cause })
  }
  return parseConfig(schema, text, { ...options, file })
}

/** As loadConfig, from the text itself; `file` is the name that errors use. */
export function parseConfig<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
  options: LoadOptions & { file?: string } = {},
): z.output<Schema> {
  const file = options.file ?? 'config'
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false })
  const broken = document.errors[0]
  if (broken !== undefined) {
    // The parser's own words name one of its functions.
    const message = broken.code === 'MULTIPLE_DOCS' ? 'a second document begins here; one is expected' : broken.message
    throw configError([`${file}:${lines.linePos(broken.pos[0]).line}: ${message}`], '', broken)
  }
  checkKeys(document, lines, file)
  const overrides = (options.set ?? []).map(parseOverride)
  for (const override of overrides) applyOverride(document, override)
  const value = toPlain(document, file)
  const cycle = findCycle(value, [], new Set())
  if (cycle !== null)
    throw configError([`${file}: ${cycle.join('.')}: an alias (*) of what it stands in`], cycle.join('.'))
  const interpolated = findInterpolation(value, [])
  const place = (path: readonly PropertyKey[], ofKey = false) => locate(document, lines, file, overrides, path, ofKey)
  if (interpolated !== null) {
    const key = interpolated.join('.')
    throw configError(
      [`${place(interpolated)}: ${key}: \${…} is not replaced here; write the value or use --set ${key}=…`],
      key,
    )
  }
  const result = schema.safeParse(value ?? {})
  if (result.success) return result.data
  const issues = readableIssues(schema, result.error.issues, value)
  const messages = issues.map(
    (issue) => `${place(issue.path, issue.ofKey)}: ${issue.key}${issue.key === '' ? '' : ': '}${issue.message}`,
  )
  const first = issues[0]
  throw new PrudentError('E_CONFIG', messages.join('\n'), {
    argument: first?.key ?? '',
    expected: first?.expected ?? 'a valid configuration',
    received: first?.received ?? '',
    cause: result.error,
  })
}

function configError(messages: string[], argument: string, cause?: unknown): PrudentError {
  return new PrudentError('E_CONFIG', messages.join('\n'), { argument, cause })
}

/** Keys of mappings are text; YAML would take a list or a mapping too. */
function checkKeys(document: Document, lines: LineCounter, file: string): void {
  visit(document, {
    Pair(_, { key }) {
      if (!isCollection(key)) return
      const line = lines.linePos(key.range?.[0] ?? 0).line
      throw configError([`${file}:${line}: ${key.toString()}: expected text as a key`], '')
    },
  })
}

function toPlain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw configError([`${file}: ${(cause as Error).message}`], '', cause)
  }
}

/** Where a key path stands: `file:line`, or the override that set it. A missing key is placed at its parent. */
function locate(
  document: Document,
  lines: LineCounter,
  file: string,
  overrides: readonly Override[],
  path: readonly PropertyKey[],
  ofKey: boolean,
): string {
  const names = path.map(String)
  const isBelow = (deep: readonly string[], top: readonly string[]) => top.every((part, index) => deep[index] === part)
  const setting = overrides.findLast(({ path: set }) => isBelow(names, set) || (ofKey && isBelow(set, names)))
  if (setting !== undefined) return `--set ${setting.text}`
  let node: unknown = document.contents
  let offset = isNode(node) ? node.range?.[0] : undefined
  for (const [index, name] of names.entries()) {
    const pair = isMap(node)
      ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === name)
      : undefined
    const next: unknown = pair?.value ?? (isSeq(node) ? node.items[Number(name)] : undefined)
    const keyNode = pair?.key
    const useKey = (ofKey && index === names.length - 1) || !isScalar(next)
    const at =
      useKey && isNode(keyNode)
        ? keyNode.range
        : isNode(next)
          ? next.range
          : isNode(keyNode)
            ? keyNode.range
            : undefined
    if (at === undefined || at === null) break
    offset = at[0]
    node = isPair(next) ? next.value : next
  }
  return offset === undefined ? file : `${file}:${lines.linePos(offset).line}`
}

/** Where a value holds itself, which YAML can say and nothing else can. */
function findCycle(value: unknown, path: readonly string[], above: Set<unknown>): readonly string[] | null {
  if (typeof value !== 'object' || value === null) return null
  if (above.has(value)) return path
  above.add(value)
  for (const [key, inner] of Object.entries(value)) {
    const found = findCycle(inner, [...path, key], above)
    if (found !== null) return found
  }
  above.delete(value)
  return null
}

function findInterpolation(value: unknown, path: readonly string[]): readonly string[] | null {
  if (typeof value === 'string') return value.includes('${') ? path : null
  if (typeof value !== 'object' || value === null) return null
  for (const [key, inner] of Object.entries(value)) {
    const found = findInterpolation(inner, [...path, key])
    if (found !== null) return found
  }
  return null
}
