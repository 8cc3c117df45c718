import { z } from 'zod'

/** JSON Schema (draft 2020-12) of what a user may write, for editors: defaults shown, unknown keys refused. */
export function toJsonSchema(schema: z.ZodType, title: string): string {
  const { $schema, ...body } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return `${JSON.stringify({ $schema, title, ...body }, null, 2)}\n`
}

/** Paths of mappings in which unknown keys would pass unnoticed; a test holds this empty for every root schema. */
export function looseMappings(schema: z.ZodType): string[] {
  const found: string[] = []
  const visit = (node: unknown, path: string) => {
    if (typeof node !== 'object' || node === null) return
    const mapping = node as Record<string, unknown>
    if (typeof mapping.properties === 'object' && mapping.additionalProperties === undefined) found.push(path)
    for (const [key, value] of Object.entries(mapping)) visit(value, path === '' ? key : `${path}/${key}`)
  }
  visit(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), '')
  return found
}
