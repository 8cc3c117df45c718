import { execFileSync } from 'node:child_process'
import { expect, test } from '@jest/globals'
import { commandLine, unless } from '../../ts/cli/support/command-line.js'

test('options without a value are left out, lists repeat theirs, numbers are written as they are', () => {
  const options = { model: ['a', 'b'], split: undefined, lambda: unless(1, 0.5), counts: unless('fixed', 'fixed') }
  expect(commandLine('evaluate variance', options)).toBe(
    'npx prudent evaluate variance --model a --model b --lambda 0.5',
  )
})

test.each(['plain/path-1.parquet', 'with a space', "it's", '$HOME `id` "x" \\', '*', ''])(
  'a shell reads %j back as it was',
  (value) => {
    const words = commandLine('x', { data: value }).slice('npx prudent x --data '.length)
    expect(execFileSync('sh', ['-c', `printf %s ${words}`], { encoding: 'utf8' })).toBe(value)
  },
)
