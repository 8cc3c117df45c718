/**
 * Writes plain values as YAML that YAML 1.2 parsers and PyYAML (YAML 1.1) read identically: exponents carry a dot and a sign
 * (PyYAML takes 1e-5 for text), and every string that could be taken for something else is quoted.
 */
export function toYaml(value: unknown): string {
  const lines = blockLines(value, 0)
  return `${lines.join('\n')}\n`
}

function blockLines(value: unknown, depth: number): string[] {
  const indent = '  '.repeat(depth)
  if (Array.isArray(value) && value.length > 0) {
    return value.flatMap((item) => {
      if (!isContainer(item)) return [`${indent}- ${scalar(item)}`]
      const inner = blockLines(item, depth + 1)
      return [`${indent}- ${(inner[0] as string).trimStart()}`, ...inner.slice(1)]
    })
  }
  if (isContainer(value) && !Array.isArray(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    return entries.flatMap(([key, item]) =>
      isContainer(item)
        ? [`${indent}${text(key)}:`, ...blockLines(item, depth + 1)]
        : [`${indent}${text(key)}: ${scalar(item)}`],
    )
  }
  return [`${indent}${scalar(value)}`]
}

function isContainer(value: unknown): value is Record<string, unknown> | unknown[] {
  if (Array.isArray(value)) return value.length > 0
  return typeof value === 'object' && value !== null && Object.values(value).some((item) => item !== undefined)
}

function scalar(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return number(value)
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return '[]'
  if (typeof value === 'object') return '{}'
  throw new TypeError(`cannot be written as YAML: ${typeof value}`)
}

function number(value: number): string {
  if (Number.isNaN(value)) return '.nan'
  if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf'
  if (Object.is(value, -0)) return '-0.0'
  const written = value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(value)
  if (!written.includes('e')) return written
  const [mantissa, exponent] = written.split('e') as [string, string]
  return `${mantissa.includes('.') ? mantissa : `${mantissa}.0`}e${exponent}`
}

/** Words that YAML 1.1 takes for booleans or null. */
const RESERVED = /^(y|n|yes|no|on|off|true|false|null|nan|inf)$/i

function text(value: string): string {
  const plain = /^[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./()-]+)*$/.test(value) && !RESERVED.test(value)
  return plain ? value : quoted(value)
}

/** JSON's escapes are YAML's; PyYAML also wants control characters and lone surrogates escaped. */
function quoted(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
