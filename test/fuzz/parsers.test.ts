/**
 * Parsers of what comes from outside, under inputs that nobody wrote: they give a value or a coded error, and what holds for every
 * input is stated. PRUDENT_FUZZ_RUNS sets how many inputs a property is tried on; test/fuzz/corpus holds those that once broke one.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, win32 } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { z } from 'zod'
import { preferenceData } from '../../ts/config/blocks.js'
import { parseConfig } from '../../ts/config/load.js'
import { ChatTemplate } from '../../ts/data/chat-template.js'
import { readHeader } from '../../ts/data/hub/headers.js'
import { checkFileName } from '../../ts/data/hub/names.js'
import { readJsonLines, readLines } from '../../ts/data/json-lines.js'
import { isPattern, matchesPattern } from '../../ts/data/patterns.js'
import { selectFiles } from '../../ts/data/sources.js'
import { PrudentError } from '../../ts/errors.js'
import { type ExactApp, exactApp } from '../service/apps.js'

const runs = Number(process.env.PRUDENT_FUZZ_RUNS ?? 200)
const seed = Number(process.env.PRUDENT_FUZZ_SEED ?? 20)
const corpus = (name: string) => {
  const folder = join('test', 'fuzz', 'corpus', name)
  return readdirSync(folder)
    .sort()
    .map((file): [Buffer] => [readFileSync(join(folder, file))])
}
const bytes = (parts: readonly string[]) =>
  fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc
      .array(fc.oneof(fc.constantFrom(...parts), fc.string({ maxLength: 4 })), { maxLength: 30 })
      .map((list) => Buffer.from(list.join(''))),
  )

/** The value, or the code of a coded error; anything else that is thrown fails the test. */
async function valueOrCode<Value>(body: () => Value | Promise<Value>): Promise<{ value?: Value; code?: string }> {
  try {
    return { value: await body() }
  } catch (error) {
    if (error instanceof PrudentError) return { code: error.code }
    throw error
  }
}
const check = (property: fc.IAsyncProperty<[Buffer]>, examples: [Buffer][]) =>
  fc.assert(property, { numRuns: runs, seed, examples })

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}
/** The bytes in pieces of `size`. */
const pieces = (content: Buffer, size: number) =>
  Readable.from(
    Array.from({ length: Math.ceil(content.length / size) }, (_, i) => content.subarray(i * size, (i + 1) * size)),
  )

describe('JSON Lines', () => {
  const parts = ['{"a":1}', '[', ']', '\n', '\r\n', '\uFEFF', ' ', '"', '\u2028', 'null', '1e999', '{"a":{"a":']
  test('lines do not depend on how the bytes arrive', () =>
    check(
      fc.asyncProperty(bytes(parts), async (content) => {
        const whole = await valueOrCode(() => collect(readLines('f', pieces(content, 1 << 20))))
        for (const size of [1, 3])
          expect(await valueOrCode(() => collect(readLines('f', pieces(content, size))))).toEqual(whole)
        if (whole.value) expect(whole.value.map(({ line }) => line)).toEqual(whole.value.map((_, index) => index + 1))
      }),
      corpus('json-lines'),
    ))
  test('what was written comes back; all else is E_DATA or E_CORRUPT_FILE', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), async (values) => {
        const content = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''))
        const read = await collect(readJsonLines('f', pieces(content, 7)))
        expect(JSON.stringify(read.map(({ value }) => value))).toBe(JSON.stringify(values))
      }),
      { numRuns: runs, seed },
    )
    await check(
      fc.asyncProperty(bytes(parts), async (content) => {
        const { code = 'E_DATA' } = await valueOrCode(() => collect(readJsonLines('f', pieces(content, 5))))
        expect(['E_DATA', 'E_CORRUPT_FILE']).toContain(code)
      }),
      corpus('json-lines'),
    )
  })
})

describe('patterns', () => {
  const path = fc
    .array(fc.constantFrom('a', 'b', '/', '.', '-', '[', ']', '*', 'é', '😀'), { maxLength: 12 })
    .map((list) => list.join(''))
  const pattern = fc.array(
    fc.constantFrom('a', 'b', '/', '*', '**', '**/', '?', '[', ']', '[a-b]', '[!a]', '[b-a]', '.', '\\'),
    { maxLength: 10 },
  )
  test('a name matches itself, `**` everything, and each pattern ends', async () => {
    fc.assert(
      fc.property(path, pattern, (name, list) => {
        if (!isPattern(name)) expect(matchesPattern(name, name)).toBe(true)
        expect(matchesPattern(name, '**')).toBe(true)
        expect(matchesPattern(name, '*')).toBe(!name.includes('/'))
        expect(typeof matchesPattern(name, list.join(''))).toBe('boolean')
        expect(matchesPattern(`x/${name}`, `**/${list.join('')}`)).toBe(
          matchesPattern(`x/${name}`, list.join('')) ||
            suffixes(name).some((rest) => matchesPattern(rest, list.join(''))),
        )
      }),
      { numRuns: runs, seed },
    )
  })
  test.each(corpus('patterns'))('from the corpus: %s', (content) => {
    const [name = '', text = '', expected] = content.toString().trimEnd().split('\n')
    expect(String(matchesPattern(name, text))).toBe(expected)
  })
})

/** What is left of a path without its first folders; the path itself among them. */
function suffixes(name: string): string[] {
  const parts = name.split('/')
  return parts.map((_, index) => parts.slice(index).join('/'))
}

describe('names of files of a repository', () => {
  const name = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc
      .array(fc.constantFrom('a', '..', '.', '/', '\\', 'C:', 'nul', ' ', '\u0000', 'é'), { maxLength: 6 })
      .map((list) => list.join('')),
  )
  test('those that are taken stay below the folder, on every system', async () => {
    await fc.assert(
      fc.asyncProperty(name, async (text) => {
        const { code } = await valueOrCode(() => checkFileName(text, 'owner/name'))
        if (code !== undefined) return expect(code).toBe('E_HUB')
        expect(posix.normalize(posix.join('/cache', text))).toBe(`/cache/${text}`)
        expect(win32.normalize(win32.join('C:\\cache', text))).toBe(`C:\\cache\\${text.replaceAll('/', '\\')}`)
      }),
      { numRuns: runs * 5, seed },
    )
  })
})

describe('README.md of a data set', () => {
  const parts = [
    '---\n',
    'configs:\n',
    '- config_name: a\n',
    '  data_files:\n',
    '  - split: train\n',
    '    path: ',
    '[b-a]',
    '**/',
    '*',
    '&a ',
    '*a\n',
    '{',
    '"',
    '\n',
  ]
  test('names files that are there, or is no help', () =>
    check(
      fc.asyncProperty(bytes(parts), async (content) => {
        const names = ['data/train-0.parquet', 'a/test.jsonl', 'README.md']
        const { value, code } = await valueOrCode(() =>
          selectFiles(names, `---\n${content}\n---\n`, { path: 'owner/name' }),
        )
        if (code !== undefined) return expect(code).toBe('E_NOT_FOUND')
        expect(names).toEqual(expect.arrayContaining(value as string[]))
      }),
      corpus('readme'),
    ))
})

describe('configuration', () => {
  const schema = z.strictObject({
    data: preferenceData,
    lr: z.number().positive(),
    names: z.array(z.string()).default([]),
  })
  const parts = [
    'data:',
    '\n',
    '  ',
    'source:',
    ' a.jsonl',
    'lr: ',
    '1.0e-5',
    '{',
    '}',
    '[',
    ']',
    '- ',
    '&a',
    '*a',
    '<<: ',
    '!!js',
    '"',
    '#',
    '|',
    '? ',
    '__proto__: ',
    '$' + '{x}',
    '\t',
    '-',
    ':',
  ]
  test('a value of the schema, or E_CONFIG with a place', () =>
    check(
      fc.asyncProperty(bytes(parts), async (content) => {
        const { value, code } = await valueOrCode(() => parseConfig(schema, content.toString()))
        if (code !== undefined) return expect(code).toBe('E_CONFIG')
        expect(schema.safeParse(value).success).toBe(true)
        expect(({} as Record<string, unknown>).polluted).toBeUndefined()
      }),
      corpus('config'),
    ))
  test('overrides too', async () => {
    const part = fc.oneof(
      fc.constantFrom('data', 'source', 'lr', '__proto__', 'constructor', '', '0', 'names'),
      fc.string({ maxLength: 3 }),
    )
    const override = fc.tuple(fc.array(part, { maxLength: 3 }), fc.string({ maxLength: 5 }))
    await fc.assert(
      fc.asyncProperty(override, async ([keys, value]) => {
        const set = [`${keys.join('.')}=${value}`]
        const { code = 'E_CONFIG' } = await valueOrCode(() => parseConfig(schema, 'lr: 1.0', { set }))
        expect(['E_CONFIG', 'E_USAGE']).toContain(code)
      }),
      { numRuns: runs, seed },
    )
  })
})

describe('chat templates', () => {
  const parts = [
    '{{',
    '}}',
    '{%',
    '%}',
    ' for m in messages ',
    ' endfor ',
    ' if ',
    ' endif ',
    'messages',
    '[0]',
    '.content',
    ' | trim',
    ' set a = ',
    'raise_exception("x")',
    '{#',
    '#}',
    'namespace()',
    '~',
    '%',
    '1',
    '"',
    'bos_token',
  ]
  test('a text, E_CONFIG or E_DATA', () =>
    check(
      fc.asyncProperty(bytes(parts), async (content) => {
        const template = new ChatTemplate(new Map([['default', content.toString()]]), 'folder')
        const { value, code = 'E_DATA' } = await valueOrCode(() => template.render([{ role: 'user', content: 'hi' }]))
        if (value !== undefined) expect(typeof value).toBe('string')
        expect(['E_CONFIG', 'E_DATA']).toContain(code)
      }),
      corpus('templates'),
    ))
})

describe('headers of safetensors', () => {
  test('bytes within the file, or E_CORRUPT_FILE', () =>
    check(
      fc.asyncProperty(
        bytes(['\u0008\u0000\u0000\u0000\u0000\u0000\u0000\u0000', '{}', ' ', '\u0000']),
        async (content) => {
          const read = async (start: number, end: number) => {
            expect(end).toBeLessThanOrEqual(content.length)
            return content.subarray(start, end)
          }
          const { value, code } = await valueOrCode(() => readHeader(read, content.length, 'f'))
          if (code !== undefined) expect(code).toBe('E_CORRUPT_FILE')
          else expect(value).toEqual(content.subarray(0, value?.length))
        },
      ),
      corpus('safetensors'),
    ))
})

describe('bodies of requests', () => {
  let service: ExactApp
  beforeAll(() => {
    service = exactApp()
  })
  afterAll(() => service[Symbol.asyncDispose]())

  const key = fc.constantFrom(
    'input',
    'model',
    'messages',
    'task',
    'text_1',
    'text_2',
    'queries',
    'items',
    'use_activation',
    '__proto__',
    'x',
  )
  const leaf = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.string({ maxLength: 5 }),
    fc.constantFrom(null, true, 'classify', 'exact'),
    fc.array(fc.nat({ max: 9 }), { maxLength: 4 }),
  )
  const body = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4 }),
    ),
  })).value
  test.each(['/pooling', '/classify', '/score'])(
    'POST %s: an answer or a refusal, never a failure of the server',
    async (url) => {
      await fc.assert(
        fc.asyncProperty(
          fc.oneof(
            body.map((value) => JSON.stringify(value)),
            fc.string({ maxLength: 30 }),
          ),
          async (payload) => {
            const headers = { 'content-type': 'application/json' }
            const { statusCode } = await service.app.inject({ method: 'POST', url, payload, headers })
            expect([200, 400, 413, 422, 404, 415]).toContain(statusCode)
          },
        ),
        { numRuns: runs, seed },
      )
    },
  )
})
