import { expect, test } from '@jest/globals'
import { textTable } from '../../ts/report/text-table.js'

test('every line has as many columns, whatever bars titles and cells hold', () => {
  const columns = [
    { title: 'model', cell: (row: string) => row },
    { title: 'std / |mean|', numeric: true, cell: () => '0.5' },
  ]
  expect(textTable(columns, ['a|b', 'c'])).toBe(
    [
      '| model | std / \\|mean\\| |',
      '| ----- | -------------: |',
      '| a\\|b  |            0.5 |',
      '| c     |            0.5 |',
      '',
    ].join('\n'),
  )
})
