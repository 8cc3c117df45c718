/** What README, CONTRIBUTING and docs/ name of this repository is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from '@jest/globals'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]
const FOLDERS = 'native|ts|test|scripts|bench|docs|configs|examples|cmake|bin'

/** Relative targets of links and `paths in code` below a folder of the repository that lead nowhere. */
function deadNames(page: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map((match) => join(dirname(page), match[1] ?? ''))
  const paths = [...text.matchAll(new RegExp(`\`((?:${FOLDERS})/[\\w./@-]*)\``, 'g'))].map((match) => match[1] ?? '')
  // What a reader makes himself by following CONTRIBUTING.
  return [...links, ...paths].filter((name) => !name.includes('my_op') && !existsSync(name))
}

test.each(PAGES)('%s names nothing that is not there', (page) => {
  expect(deadNames(page, readFileSync(page, 'utf8'))).toEqual([])
})

test('a link and a path that lead nowhere are found', () => {
  const text = 'See [there](gone.md#part), [here](errors.md), `ts/gone.ts` and `ts/errors.ts`.'
  expect(deadNames('docs/page.md', text)).toEqual(['docs/gone.md', 'ts/gone.ts'])
})
