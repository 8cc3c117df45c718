import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import * as blocks from '../../ts/config/blocks.js'
import { looseMappings, toJsonSchema } from '../../ts/config/json-schema.js'
import { loadConfig, parseConfig } from '../../ts/config/load.js'
import { nearest } from '../../ts/config/nearest.js'

const schema = z.strictObject({
  name: z.string(),
  base: blocks.modelReference,
  data: blocks.preferenceData,
  optimiser: blocks.optimiser,
  schedule: blocks.schedule,
  heads: z.int().min(1).max(100).default(10),
  kl: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('fixed'), beta: z.number().positive() }),
    z.strictObject({ kind: z.literal('adaptive'), target: z.number().positive(), horizon: z.int().min(1) }),
  ]),
  sizes: z.array(z.strictObject({ width: z.int() })).default([]),
})

const VALID = `# a comment
name: example
base: models/base
data:
  source: {path: data/pairs.jsonl, split: train}
  columns:
    chosen: good
optimiser:
  lr: 1.0e-5
kl:
  kind: fixed
  beta: 0.1
sizes:
  - width: 1
  - width: 2
`

function failure(
  text: string,
  set: string[] = [],
): { code: string; message: string; argument: string; expected: string } {
  try {
    parseConfig(schema, text, { file: 'x.yaml', set })
  } catch (error) {
    return error as ReturnType<typeof failure>
  }
  throw new Error('was accepted')
}

describe('what is accepted', () => {
  test('values, defaults and short forms', () => {
    const config = parseConfig(schema, VALID)
    expect(config).toMatchObject({
      base: { path: 'models/base' },
      data: {
        source: { path: 'data/pairs.jsonl', split: 'train' },
        columns: { chosen: 'good', rejected: 'rejected' },
        maxLength: 1024,
      },
      optimiser: { lr: 1e-5, beta1: 0.9, beta2: 0.999, eps: 1e-8 },
      schedule: { shape: 'cosine', warmupRatio: 0 },
      heads: 10,
    })
  })
  test('anchors and merges', () => {
    const text = VALID.replace('sizes:\n  - width: 1\n  - width: 2\n', 'sizes:\n  - &one {width: 3}\n  - <<: *one\n')
    expect(parseConfig(schema, text).sizes).toEqual([{ width: 3 }, { width: 3 }])
  })
  test('an override below an alias leaves the anchor alone', () => {
    const text = VALID.replace('sizes:\n  - width: 1\n  - width: 2\n', 'sizes:\n  - &one {width: 3}\n  - *one\n')
    expect(parseConfig(schema, text, { set: ['sizes.1.width=9'] }).sizes).toEqual([{ width: 3 }, { width: 9 }])
  })
})

describe('--set', () => {
  const cases: [string, string, unknown][] = [
    ['heads=4', 'heads', 4],
    ['optimiser.lr=3e-4', 'optimiser.lr', 3e-4],
    ['name=a=b', 'name', 'a=b'],
    ['sizes.1.width=7', 'sizes.1.width', 7],
    ['schedule.shape=linear', 'schedule.shape', 'linear'],
    ['kl={kind: adaptive, target: 6, horizon: 100}', 'kl.horizon', 100],
    ['sizes=[]', 'sizes', []],
    ['data.source.files=["a*.jsonl"]', 'data.source.files', ['a*.jsonl']],
  ]
  test.each(cases)('%s', (set, key, expected) => {
    const config = parseConfig(schema, VALID, { set: [set] })
    expect(key.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], config)).toEqual(
      expected,
    )
  })
  test('later ones win', () => expect(parseConfig(schema, VALID, { set: ['heads=2', 'heads=3'] }).heads).toBe(3))
  const bad: [string, string][] = [
    ['heads', '--set heads: expected key.path=value'],
    ['=3', 'expected key.path=value'],
    ['a..b=3', 'expected key.path=value'],
    ['name.first=x', '--set name.first=x: name is a single value and has no key first'],
    ['heads=[1', '--set heads=[1: the value is not YAML'],
    ['heads=many', '--set heads=many: heads: expected a number, received "many"'],
    ['optimizer.lr=1', '--set optimizer.lr=1: optimizer: unknown key; did you mean optimiser?'],
  ]
  test.each(bad)('%s is refused', (set, message) => {
    expect(failure(VALID, [set])).toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining(message) })
  })
})

describe('errors name file, line and key', () => {
  const cases: [string, string, string, string][] = [
    ['a wrong type', 'beta: 0.1', 'beta: much', 'x.yaml:12: kl.beta: expected a number, received "much"'],
    ['out of range', 'lr: 1.0e-5', 'lr: -1', 'x.yaml:9: optimiser.lr: expected a number > 0, received -1'],
    [
      'a misspelt key',
      '    chosen: good',
      '    choosen: good',
      'x.yaml:7: data.columns.choosen: unknown key; did you mean chosen?',
    ],
    [
      'an unknown key',
      'name: example',
      'name: example\nzebra: 1',
      'x.yaml:3: zebra: unknown key; known are name, base',
    ],
    ['an unknown key in a list', '- width: 2', '- width: 2\n    hight: 3', 'x.yaml:16: sizes.1.hight: unknown key'],
    [
      'an unknown key in a union',
      'split: train',
      'spilt: train',
      'x.yaml:5: data.source.spilt: unknown key; did you mean split?',
    ],
    [
      'none of the types of a union',
      'source: {',
      'source: 3 # {',
      'x.yaml:5: data.source: expected text or a mapping, received 3',
    ],
    ['a missing key', '  beta: 0.1\n', '', 'x.yaml:10: kl.beta: expected a number, received nothing'],
    ['a wrong kind', 'kind: fixed', 'kind: fix', 'x.yaml:11: kl.kind: expected one of fixed, adaptive, received "fix"'],
    ['a wrong list item', '- width: 2', '- width: two', 'x.yaml:15: sizes.1.width: expected a number, received "two"'],
    ['another member of a union', 'kind: fixed', 'kind: fix', 'x.yaml:11: kl'],
    ['a key of another member', 'beta: 0.1', 'target: 0.1', 'x.yaml:12: kl.target: unknown key'],
    ['interpolation', 'name: example', 'name: ${HOME}', 'x.yaml:2: name: ${…} is not replaced'],
    ['a duplicate key', 'name: example', 'name: example\nname: again', 'x.yaml:3'],
    ['broken YAML', 'name: example', 'name: [example', 'x.yaml:'],
    ['a tab', '  lr: 1.0e-5', '\tlr: 1.0e-5', 'x.yaml:9'],
  ]
  test.each(cases)('%s', (_name, before, after, message) => {
    expect(VALID).toContain(before)
    expect(failure(VALID.replace(before, () => after))).toMatchObject({
      code: 'E_CONFIG',
      message: expect.stringContaining(message),
    })
  })
  test('several problems come as several lines', () => {
    const lines = failure(VALID.replace('lr: 1.0e-5', 'lr: x').replace('beta: 0.1', 'beta: y')).message.split('\n')
    expect(lines).toHaveLength(2)
  })
  test.each(['', '# nothing', '[1, 2]', 'text', 'null'])('a file that holds %j', (text) => {
    expect(failure(text)).toMatchObject({ code: 'E_CONFIG', message: expect.stringContaining('x.yaml') })
  })
  test('an alias bomb is refused', () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x]',
      'b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]',
      'c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]',
    ]
    expect(failure(`${bomb.join('\n')}\nd: [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n`)).toMatchObject({ code: 'E_CONFIG' })
  })
  test('a missing file, and one that is read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'prudent-config-'))
    await expect(loadConfig(schema, join(folder, 'none.yaml'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    await writeFile(join(folder, 'here.yaml'), VALID)
    expect((await loadConfig(schema, join(folder, 'here.yaml'), { set: ['heads=3'] })).heads).toBe(3)
    await rm(folder, { recursive: true })
  })
})

describe('unions say what they take', () => {
  const source = z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('a') }),
    z.strictObject({ kind: z.literal('b') }),
  ])
  const nested = z.union([blocks.modelReference, z.strictObject({ random: z.strictObject({ size: z.int() }) })])
  const unions = z.strictObject({
    model: nested.optional(),
    split: z.union([z.literal(false), z.strictObject({ levels: z.int() })]).optional(),
    source: source.optional(),
  })
  const cases: [string, string][] = [
    ['model: 5', 'model: expected text or a mapping, received 5'],
    ['model: [a]', 'model: expected text or a mapping, received ["a"]'],
    ['model: { path: 3 }', 'model.path: expected text, received 3'],
    ['model: { random: 3 }', 'model.random: expected a mapping, received 3'],
    ['split: true', 'split: expected false or a mapping, received true'],
    ['split: { levels: x }', 'split.levels: expected a number, received "x"'],
    ['source: { kind: c }', 'source.kind: expected one of a, b, received "c"'],
  ]
  test.each(cases)('%s', (text, message) => {
    expect(() => parseConfig(unions, text, { file: 'x.yaml' })).toThrow(`x.yaml:1: ${message}`)
  })
})

test('what YAML can say and a configuration cannot', () => {
  expect(failure('name: a\n---\nname: b\n')).toMatchObject({
    code: 'E_CONFIG',
    message: 'x.yaml:2: a second document begins here; one is expected',
  })
  expect(failure('name: a\n? [b, c]\n: 1\n').message).toBe('x.yaml:2: ["b","c"]: expected text as a key')
})

describe('JSON Schema', () => {
  test('refuses unknown keys everywhere and does not ask for defaults', () => {
    const json = JSON.parse(toJsonSchema(schema, 'test')) as {
      required: string[]
      additionalProperties: boolean
      title: string
    }
    expect(json).toMatchObject({ title: 'test', additionalProperties: false })
    expect(json.required).not.toContain('heads')
    expect(looseMappings(schema)).toEqual([])
    expect(looseMappings(z.object({ a: z.object({ b: z.string() }) })).length).toBeGreaterThan(0)
  })
  test.each(Object.entries(blocks))('block %s is strict', (_name, block) => expect(looseMappings(block)).toEqual([]))
})

test('nearest words', () => {
  expect(nearest('learning_rate', ['learningRate', 'lr'])).toBe('learningRate')
  expect(nearest('bateSize', ['batchSize', 'beta'])).toBe('batchSize')
  expect(nearest('zebra', ['batchSize', 'beta'])).toBeNull()
})
