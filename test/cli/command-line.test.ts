import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { commandLine, typedCommand, unless } from '../../ts/cli/support/command-line.js'

test('options without a value are left out, lists repeat theirs, numbers are written as they are', () => {
  const options = { model: ['a', 'b'], split: undefined, lambda: unless(1, 0.5), counts: unless('fixed', 'fixed') }
  expect(commandLine('evaluate variance', options)).toBe(
    'npx prudent evaluate variance --model a --model b --lambda 0.5',
  )
})

const VALUES = [
  'plain/path-1.parquet',
  'with a space',
  "it's",
  '$HOME `id` "x" \\',
  '*',
  '',
  '~',
  'a;b & c > d',
  'two\nlines',
]

test.each(VALUES)('a shell reads %j back as it was', (value) => {
  const words = commandLine('x', { data: value }).slice('npx prudent x --data '.length)
  expect(execFileSync('sh', ['-c', `printf %s ${words}`], { encoding: 'utf8' })).toBe(value)
})

test('a shell hands the parameters of a whole command over as they were', () => {
  const parameters = ['train', 'policy', ...VALUES.flatMap((value) => ['--set', value])]
  const say = `npx() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n`
  const words = execFileSync('sh', ['-c', `${say}${typedCommand(parameters)}`], { encoding: 'utf8' }).split('\0')
  expect(words.slice(0, -1)).toEqual(['prudent', ...parameters])
})
