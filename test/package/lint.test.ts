import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { repository } from './project.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'prudent-lint-'))
  mkdirSync(join(folder, 'dist', 'ts'), { recursive: true })
  writeFileSync(join(folder, 'dist', 'ts', 'index.js'), 'export const one = 1\n')
  writeFileSync(join(folder, 'dist', 'ts', 'index.d.ts'), 'export declare const one = 1\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What the lint says of a package with these exports. */
function problems(exports: object): string[] {
  const manifest = { name: 'small', version: '1.0.0', type: 'module', files: ['dist'], license: 'MIT', exports }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const file = pathToFileURL(join(repository, 'scripts', 'lint', 'package.mjs')).href
  const script = `const { checkPackage } = await import(${JSON.stringify(file)})
    console.log(JSON.stringify(await checkPackage(${JSON.stringify(folder)})))`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as string[]
}

const [types, code] = ['./dist/ts/index.d.ts', './dist/ts/index.js']

test('the lint finds types that are not first, missing files and missing types, and nothing where all is well', () => {
  expect(problems({ '.': { types, default: code } })).toEqual([])
  expect(problems({ '.': { default: code, types } }).join()).toContain('EXPORTS_TYPES_SHOULD_BE_FIRST')
  expect(problems({ '.': { types, default: './dist/ts/main.js' } }).join()).toContain('FILE_DOES_NOT_EXIST')
  const untyped = { '.': { types, default: code }, './errors': { types: './dist/ts/errors.d.ts', default: code } }
  expect(problems(untyped).join()).toMatch(/\.\/errors as .*\(attw\)/)
}, 60_000)
