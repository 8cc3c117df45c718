/** docs/dependencies.md against what is installed. */
import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'

const page = readFileSync('docs/dependencies.md', 'utf8')
const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<
  'dependencies' | 'devDependencies',
  Record<string, string>
>
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Record<string, { license?: string; dev?: boolean; integrity?: string; optional?: boolean }>
}
const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm)].map(([, name, licence, why]) => ({
  name: name as string,
  licence: licence?.trim(),
  why: why?.trim() ?? '',
}))

test('every dependency has a row with its licence and a reason, and no row is left over', () => {
  expect(rows.map(({ name }) => name)).toEqual([
    ...Object.keys(dependencies).sort(),
    ...Object.keys(devDependencies).sort(),
  ])
  for (const { name, licence, why } of rows) {
    expect([name, packages[`node_modules/${name}`]?.license]).toEqual([name, licence])
    expect(why).not.toBe('')
  }
})

test('licences of what is installed at run time are those of the list', () => {
  const allowed = (/is under one of: (.*)\.$/m.exec(page)?.[1] ?? '').split(', ')
  const others = Object.entries(packages).filter(([path, { license = '', dev }]) => {
    const choices = license.replace(/[()]/g, '').split(' OR ')
    return path !== '' && dev !== true && !choices.some((choice) => allowed.includes(choice))
  })
  expect(others).toEqual([])
})

test('every package is pinned by its hash (packages of other platforms aside)', () => {
  const loose = Object.entries(packages).filter(
    ([path, { integrity, optional }]) => path !== '' && !optional && integrity === undefined,
  )
  expect(loose).toEqual([])
})
