import { z } from 'zod'
import { nearest } from './nearest.js'

export interface ReadableIssue {
  path: PropertyKey[]
  /** Dotted path. */
  key: string
  message: string
  expected?: string
  received?: string
  /** The key itself is wrong, not its value. */
  ofKey: boolean
}

type Issue = z.core.$ZodIssue

/** zod's issues as lines for people: unknown keys one by one with the nearest known key, unions by their closest member. */
export function readableIssues(schema: z.ZodType, issues: readonly Issue[], value: unknown): ReadableIssue[] {
  return issues.flatMap((issue) => describe(schema, issue, [], value))
}

function describe(schema: z.ZodType, issue: Issue, above: readonly PropertyKey[], value: unknown): ReadableIssue[] {
  const path = [...above, ...issue.path]
  const key = path.map(String).join('.')
  if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => unknownKey(schema, path, name))
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const closest = closestMember(issue.errors)
    if (closest !== null) return closest.flatMap((inner) => describe(schema, inner, path, value))
  }
  const received = shown(valueAt(value, path))
  const expected = expectation(issue)
  if (expected === null) return [{ path, key, message: lowered(issue.message), received, ofKey: false }]
  return [{ path, key, message: `expected ${expected}, received ${received}`, expected, received, ofKey: false }]
}

function unknownKey(schema: z.ZodType, path: PropertyKey[], name: string): ReadableIssue {
  const known = knownKeys(schema, path)
  const similar = nearest(name, known)
  const hint =
    similar !== null ? `; did you mean ${similar}?` : known.length > 0 ? `; known are ${known.join(', ')}` : ''
  const key = [...path, name].map(String).join('.')
  return {
    path: [...path, name],
    key,
    message: `unknown key${hint}`,
    expected: known.join(', '),
    received: name,
    ofKey: true,
  }
}

/** The member that got furthest: it complains deepest, and about least. A member of another type altogether says nothing new. */
function closestMember(errors: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const ofOtherType = (issues: readonly Issue[]) =>
    issues.some((issue) => issue.code === 'invalid_type' && issue.path.length === 0)
  const candidates = errors.filter((issues) => issues.length > 0 && !ofOtherType(issues))
  const depth = (issues: readonly Issue[]) => Math.max(...issues.map((issue) => issue.path.length))
  return candidates.sort((a, b) => depth(b) - depth(a) || a.length - b.length)[0] ?? null
}

function expectation(issue: Issue): string | null {
  switch (issue.code) {
    case 'invalid_type':
      return article(issue.expected)
    case 'invalid_value':
      return issue.values.length === 1
        ? shown(issue.values[0])
        : `one of ${issue.values.map((item) => String(item)).join(', ')}`
    case 'too_small':
      return bound(issue.origin, issue.inclusive ? '>=' : '>', issue.minimum)
    case 'too_big':
      return bound(issue.origin, issue.inclusive ? '<=' : '<', issue.maximum)
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_union':
      return typesOf(issue.errors).join(' or ') || 'another type'
    default:
      return null
  }
}

/** What the members of a union that wanted another type would have taken. */
function typesOf(errors: readonly (readonly Issue[])[]): string[] {
  const names = errors.flat().flatMap((issue) => {
    if (issue.path.length > 0) return []
    if (issue.code === 'invalid_union') return typesOf(issue.errors)
    return issue.code === 'invalid_type' ? [article(issue.expected)] : []
  })
  return [...new Set(names)]
}

function bound(origin: string, comparison: string, limit: number | bigint): string {
  if (origin === 'string') return `text of length ${comparison} ${limit}`
  if (origin === 'array' || origin === 'set') return `a list of length ${comparison} ${limit}`
  return `a number ${comparison} ${limit}`
}

function article(type: string): string {
  const names: Record<string, string> = {
    int: 'an integer',
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
    string: 'text',
    boolean: 'true or false',
    null: 'null',
  }
  return names[type] ?? `a ${type}`
}

function lowered(message: string): string {
  return message === '' ? 'not valid' : message.charAt(0).toLowerCase() + message.slice(1)
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    value,
  )
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'number') return String(value)
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>
  items?: JsonSchema
  additionalProperties?: JsonSchema | boolean
  anyOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  allOf?: JsonSchema[]
  $ref?: string
  $defs?: Record<string, JsonSchema>
}

/** Keys that the schema knows at a path, over all members of unions on the way. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
  let level = expand(root, root)
  for (const name of path) {
    level = level.flatMap((at) => {
      const next = typeof name === 'number' ? at.items : (at.properties?.[String(name)] ?? at.additionalProperties)
      return typeof next === 'object' ? expand(next, root) : []
    })
  }
  return [...new Set(level.flatMap((at) => Object.keys(at.properties ?? {})))]
}

function expand(schema: JsonSchema, root: JsonSchema): JsonSchema[] {
  const name = schema.$ref?.replace(/^#\/\$defs\//, '')
  const target = schema.$ref === '#' ? root : name === undefined ? undefined : root.$defs?.[name]
  const members = [
    ...(schema.anyOf ?? []),
    ...(schema.oneOf ?? []),
    ...(schema.allOf ?? []),
    ...(target === undefined ? [] : [target]),
  ]
  return [schema, ...members.flatMap((member) => expand(member, root))]
}
