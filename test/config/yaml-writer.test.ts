import { spawnSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parse } from 'yaml'
import { toYaml } from '../../ts/config/yaml-writer.js'

const AWKWARD = {
  small: 1e-5,
  smaller: 1.5e-7,
  large: 1e21,
  larger: 1.25e300,
  integer: 12,
  negative: -3,
  decimal: 0.1,
  words: [
    'yes',
    'no',
    'on',
    'off',
    'y',
    'n',
    'null',
    '~',
    'true',
    'False',
    '',
    ' ',
    'NULL',
    '.inf',
    'nan',
    '=',
    '<<',
    '---',
    '...',
  ],
  numbers: ['1e5', '1.0e-5', '0x10', '0o7', '010', '1_000', '12:30:45', '2024-01-02', '-', '- a', '+1', '.5', '1.'],
  punctuation: [
    'a: b',
    'a #b',
    '#a',
    '@a',
    '%a',
    '*a',
    '&a',
    '!a',
    '{a}',
    '[a]',
    '|',
    '>',
    "it's",
    '"quoted"',
    'a\\b',
    '${x}',
    'C:\\x',
  ],
  text: [
    'tab\there',
    'line\nbreak',
    'cr\rhere',
    'nul\u0000',
    'del\u007f',
    '\u0085',
    '\u2028',
    '\ufeff',
    '日本',
    '👩‍👩‍👧',
    'trailing ',
    ' leading',
  ],
  nested: [{ a: [1, [2, []], {}] }, [], {}, null, true],
  'odd key: 1': { yes: 1, '': 2, '1': 3, 'a b': 4 },
}

test('what is written is read back by a YAML 1.2 parser', () => {
  expect(parse(toYaml(AWKWARD))).toEqual(AWKWARD)
  expect(toYaml({ lr: 1e-5 })).toBe('lr: 1.0e-5\n')
  expect(toYaml([])).toBe('[]\n')
  expect(toYaml({})).toBe('{}\n')
  const value = fc.jsonValue({ noUnicodeString: false })
  fc.assert(
    fc.property(value, (any) => {
      const plain: unknown = JSON.parse(JSON.stringify(any))
      expect(parse(toYaml(plain))).toEqual(plain)
    }),
  )
})

const python = process.env.PRUDENT_PEERS_PYTHON
const withPython = python === undefined ? test.skip : test
withPython('PyYAML reads the same values', () => {
  const generated = fc.sample(fc.jsonValue({ noUnicodeString: false }), { numRuns: 100, seed: 7 })
  const values = [AWKWARD, ...generated.map((value) => JSON.parse(JSON.stringify(value)) as unknown)]
  const script = [
    'import json, sys, yaml',
    'for case in json.load(sys.stdin):',
    '    read = yaml.safe_load(case["yaml"])',
    '    assert read == case["value"], (case["yaml"], read, case["value"])',
    '    assert isinstance(read, bool) == isinstance(case["value"], bool)',
    'print("same")',
  ].join('\n')
  const input = JSON.stringify(values.map((value) => ({ value, yaml: toYaml(value) })))
  const result = spawnSync(python as string, ['-c', script], { input, encoding: 'utf8' })
  expect(result.stderr).toBe('')
  expect(result.stdout.trim()).toBe('same')
})
