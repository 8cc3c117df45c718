import { readFile } from 'node:fs/promises'
import { expect, test } from '@jest/globals'
import { argumentError, PrudentError } from '../ts/errors.js'
import { errorDocs } from '../ts/errors-docs.js'

test('docs/errors.md is what scripts/make-error-docs.mjs writes now', async () => {
  expect(await readFile('docs/errors.md', 'utf8')).toBe(errorDocs())
})

test('errors carry what callers branch on', () => {
  const cause = new Error('below')
  const error = new PrudentError('E_CANCELLED', 'stopped', { cause })
  expect(error).toMatchObject({ code: 'E_CANCELLED', name: 'AbortError', message: 'stopped', cause })
  expect(argumentError('E_RANGE', 'beta', 'a number > 0', '-1')).toMatchObject({
    name: 'PrudentError',
    argument: 'beta',
    expected: 'a number > 0',
    received: '-1',
    message: 'beta: expected a number > 0, received -1',
  })
})
