/** Every public value has an example, and the examples do what they say. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { documentedValues, type Example, promises, toJavaScript, typeErrors } from './doc-examples.js'
import type { Outcome } from './doc-examples-child.js'
import { repository } from './project.js'

jest.setTimeout(120_000)

/** Modules inside the package, so that they reach it by its name as well as its dependencies. */
const modules = join(repository, 'build', 'doc-examples')
/** Where they run: the models that they name. */
let folder: string
beforeAll(() => {
  rmSync(modules, { recursive: true, force: true })
  mkdirSync(modules, { recursive: true })
  folder = mkdtempSync(join(tmpdir(), 'prudent-examples-'))
  const models = { 'reward-model': 'gemma-ensemble', policy: 'gemma-policy' }
  for (const [name, from] of Object.entries(models))
    cpSync(join(repository, 'test', 'cli', 'files', from), join(folder, name), { recursive: true })
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
  rmSync(modules, { recursive: true, force: true })
})

/** The package's entry points and their sources, from package.json. */
function entryPoints(): Record<string, string> {
  const { exports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
    exports: Record<string, { default: string } | string>
  }
  const entries = Object.entries(exports).flatMap(([path, target]) => {
    if (typeof target === 'string') return []
    const source = target.default.replace('./dist/', '').replace(/\.js$/, '.ts')
    return [[`prudent${path.slice(1)}`, join(repository, source)]]
  })
  return Object.fromEntries(entries) as Record<string, string>
}

function run(examples: readonly Example[]): Outcome[] {
  const files = examples.map(({ source }, at) => {
    const file = join(modules, `example-${at}.mjs`)
    writeFileSync(file, toJavaScript(source))
    return file
  })
  const child = join(repository, 'dist', 'test', 'package', 'doc-examples-child.js')
  return JSON.parse(execFileSync(process.execPath, [child, ...files], { cwd: folder, encoding: 'utf8' })) as Outcome[]
}

describe('examples of the public names', () => {
  const values = documentedValues(entryPoints())
  const examples = values.flatMap(({ name, examples }) => examples.map((source) => ({ name, source })))

  test('no value lacks one', () => {
    expect(values.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['prudent: RewardModel', 'prudent/policy: trainPolicy', 'prudent/fastify: default']),
    )
    expect(values.filter(({ examples }) => examples.length === 0)).toEqual([])
  })

  test('all pass the compiler, importing the package by its name', () => {
    expect(typeErrors(examples)).toEqual([])
  })

  test('all run, and print what they say', () => {
    const outcomes = run(examples).map((outcome, at) => ({ name: examples[at]?.name, ...outcome }))
    expect(outcomes).toEqual(
      examples.map((example) => ({ name: example.name, printed: promises(example), error: null })),
    )
    expect(examples.filter((example) => promises(example).length === 0)).toEqual([])
  })
})

describe('what is wrong is found', () => {
  test('a value without an example', () => {
    const file = join(modules, 'undocumented.ts')
    const documented =
      '/**\n * Two.\n * @example\n * ```ts\n * console.log(1 + 1) // 2\n * ```\n */\nexport const two = 2\n'
    writeFileSync(file, `${documented}/** One. */\nexport const one = 1\nexport type None = never\n`)
    expect(documentedValues({ small: file })).toEqual([
      { name: 'small: two', examples: ['console.log(1 + 1) // 2'] },
      { name: 'small: one', examples: [] },
    ])
  })

  test('an example of wrong types', () => {
    const source = "import { Tokenizer } from 'prudent'\nexport const tokenizer: Tokenizer = Tokenizer.load('policy')"
    expect(typeErrors([{ name: 'wrong', source }]).join()).toMatch(/^wrong:2: .*Promise<Tokenizer>/)
  })

  test('an example that fails, and one that prints something else', () => {
    const [failed, printed] = run([
      { name: 'fails', source: "throw new Error('meant')" },
      { name: 'prints', source: 'console.log(1 + 1) // 3' },
    ])
    expect(failed?.error).toContain('meant')
    expect(printed).toEqual({ printed: ['2'], error: null })
    expect(promises({ name: 'prints', source: 'console.log(1 + 1) // 3' })).toEqual(['3'])
    expect(() => promises({ name: 'silent', source: 'console.log(1)' })).toThrow('silent')
  })
})
