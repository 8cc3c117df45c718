import { Template } from '@huggingface/jinja'
import { isObject } from './tokenizer-files.js'

/**
 * A template that renders as jinja2 renders it where the library would not and does not say so: line ends of Windows,
 * arguments of strip, text before a `continue` or `break`, dates.
 */
export function compileTemplate(source: string): (context: Record<string, unknown>) => string {
  const template = new Template(source.replace(/\r\n?/g, '\n'))
  adapt(template.parsed)
  return (context) => template.render({ ...context, ...FUNCTIONS })
}

/** The parts of a statement or expression that are looked at here. */
interface Node {
  type: string
  value?: unknown
  test?: Node
  body?: Node[]
  alternate?: Node[]
  callee?: Node
  args?: Node[]
  object?: Node
  property?: Node
}

/** Names that no template can write. */
const ENDED = { type: 'Identifier', value: '.ended' }
const FUNCTIONS = {
  '.strip': (text: unknown, chars: unknown) => stripped(text, chars, true, true),
  '.lstrip': (text: unknown, chars: unknown) => stripped(text, chars, true, false),
  '.rstrip': (text: unknown, chars: unknown) => stripped(text, chars, false, true),
  '.strftime_now': (format: unknown) => strftime(new Date(), String(format)),
}

const STRIPS = new Set(['.strip', '.lstrip', '.rstrip'])

function adapt(part: unknown): void {
  if (Array.isArray(part) || part instanceof Map) {
    for (const item of part) adapt(item)
    return
  }
  if (!isObject(part)) return
  for (const value of Object.values(part)) adapt(value)
  const node = part as unknown as Node
  if (node.type === 'CallExpression') adaptCall(node)
  if (node.type === 'For') adaptLoop(node)
}

/** `text.strip(chars)` ignores its argument in the library, and `strftime_now` knows few codes, in the machine's language. */
function adaptCall(call: Node): void {
  const { callee, args = [] } = call
  if (callee?.type === 'Identifier' && callee.value === 'strftime_now') callee.value = '.strftime_now'
  const name = `.${String(callee?.property?.value)}`
  if (callee?.type !== 'MemberExpression' || args.length === 0 || !STRIPS.has(name)) return
  call.args = [callee.object as Node, ...args]
  call.callee = { type: 'Identifier', value: name }
}

/** The library forgets what an iteration has written before its `continue` or `break`: here such an iteration runs to its end. */
function adaptLoop(loop: Node): void {
  const body = loop.body ?? []
  if (!body.some(leaves)) return
  loop.body = [{ type: 'If', test: ENDED, body: [{ type: 'Break' }], alternate: [] }, ...withoutLeaving(body)]
}

function leaves(node: Node): boolean {
  if (node.type === 'Break' || node.type === 'Continue') return true
  return node.type === 'If' && [...(node.body ?? []), ...(node.alternate ?? [])].some(leaves)
}

/** What follows an `if` that may leave goes into those of its branches that do not. */
function withoutLeaving(statements: readonly Node[]): Node[] {
  const at = statements.findIndex(leaves)
  const node = statements[at]
  if (node === undefined) return [...statements]
  const before = statements.slice(0, at)
  if (node.type === 'Continue') return before
  if (node.type === 'Break') {
    return [...before, { type: 'Set', assignee: ENDED, value: { type: 'IntegerLiteral', value: 1 } } as Node]
  }
  const rest = statements.slice(at + 1)
  const branch = (own: readonly Node[] = []) => withoutLeaving([...own, ...rest])
  return [...before, { ...node, body: branch(node.body), alternate: branch(node.alternate) }]
}

function stripped(text: unknown, chars: unknown, left: boolean, right: boolean): string {
  if (typeof text !== 'string') throw new Error('strip expects text')
  if (chars === null || chars === undefined)
    return left && right ? text.trim() : left ? text.trimStart() : text.trimEnd()
  const set = new Set(String(chars))
  const points = [...text]
  let [start, end] = [0, points.length]
  while (left && start < end && set.has(points[start] as string)) start++
  while (right && start < end && set.has(points[end - 1] as string)) end--
  return points.slice(start, end).join('')
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/** As Python's, in English whatever the machine's language is; `%-d` leaves zeros out. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (code: string, bare: string, letter: string) => {
    const padded = (value: number, width = 2) => String(value).padStart(bare === '' ? width : 0, '0')
    const [month, day] = [MONTHS[date.getMonth()] as string, DAYS[date.getDay()] as string]
    const midnight = (year: number, index: number, of: number) => Date.UTC(year, index, of)
    const dayOfYear =
      (midnight(date.getFullYear(), date.getMonth(), date.getDate()) - midnight(date.getFullYear(), 0, 0)) / 86_400_000
    const values: Record<string, string> = {
      Y: String(date.getFullYear()),
      y: padded(date.getFullYear() % 100),
      m: padded(date.getMonth() + 1),
      B: month,
      b: month.slice(0, 3),
      d: padded(date.getDate()),
      j: padded(dayOfYear, 3),
      A: day,
      a: day.slice(0, 3),
      H: padded(date.getHours()),
      I: padded(date.getHours() % 12 || 12),
      M: padded(date.getMinutes()),
      S: padded(date.getSeconds()),
      p: date.getHours() < 12 ? 'AM' : 'PM',
      '%': '%',
    }
    const value = values[letter]
    if (value === undefined) throw new Error(`strftime_now: ${code} is not known`)
    return value
  })
}
