import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { SmallClone } from './clone.js'

/** Runs JavaScript in the clone, as the scripts see each other, and returns what it prints as JSON. */
function evaluate(clone: SmallClone, script: string): unknown {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: clone.root,
    encoding: 'utf8',
  })
  if (stderr) throw new Error(stderr)
  return JSON.parse(stdout)
}

const script = (clone: SmallClone, name: string, args: string[] = [], env: Record<string, string | undefined> = {}) =>
  spawnSync(process.execPath, [join(clone.root, 'scripts', name), ...args], {
    cwd: clone.root,
    encoding: 'utf8',
    env: clone.environment(env),
  })

describe('lint', () => {
  const checkImports = (clone: SmallClone) =>
    evaluate(
      clone,
      `import { checkImports } from './scripts/lint/imports.mjs'; console.log(JSON.stringify(checkImports(process.cwd())))`,
    )

  test('imports along the arrow pass; upward, sideways and outside ones are named', () => {
    using clone = new SmallClone()
    clone.write('ts/errors.ts', 'export const code = 1\n')
    clone.write('ts/data/rows.ts', "import { code } from '../errors.js'\nexport const rows = code\n")
    clone.write('ts/study/plan.ts', "import { rows } from '../data/rows.js'\nexport const plan = rows\n")
    expect(checkImports(clone)).toEqual([])
    clone.write('ts/data/up.ts', "export { plan } from '../study/plan.js'\n")
    clone.write('ts/run/lazy.ts', "export const rows = () => import('../data/rows.js')\n")
    clone.write('ts/data/outside.ts', "import '../../scripts/setup.mjs'\n")
    clone.write('ts/data/utils.ts', 'export {}\n')
    clone.write('ts/attic/old.ts', 'export {}\n')
    const problems = checkImports(clone) as string[]
    expect(problems).toHaveLength(5)
    for (const part of [
      'ts/data must not import study/plan.js',
      'ts/run must not import data/rows.js',
      'outside ts/',
      'not utils',
      'ts/attic has no row',
    ]) {
      expect(problems.join('\n')).toContain(part)
    }
  })

  test('unfinished work, paths of one machine and gaps in the lock file are found', () => {
    using clone = new SmallClone()
    const check = () =>
      evaluate(
        clone,
        `import { checkTexts } from './scripts/lint/texts.mjs'; console.log(JSON.stringify(checkTexts(process.cwd()).problems))`,
      ) as string[]
    rmSync(join(clone.root, 'ts'), { recursive: true })
    expect(check()).toEqual([])
    clone.write('ts/one.ts', `// ${'TO'}${'DO'}: later\nconst path = '/${'home'}/somebody/clone'\n`)
    expect(check()).toHaveLength(2)
    rmSync(join(clone.root, 'ts'), { recursive: true })
    const file = join(clone.root, 'package-lock.json')
    const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, unknown> }
    const [platform] = Object.keys(lock.packages).filter((name) => name.includes('@biomejs/cli-')) as [string]
    delete lock.packages[platform]
    clone.write('package-lock.json', JSON.stringify(lock))
    spawnSync('git', ['init', '-q'], { cwd: clone.root })
    spawnSync('git', ['add', 'package-lock.json'], { cwd: clone.root })
    expect(check().join()).toContain(platform.replace('node_modules/', ''))
  })
})

test('a skip without a row in test/skips.json is a failure; a row needs a reason', () => {
  using clone = new SmallClone()
  clone.write(
    'test/skips.json',
    JSON.stringify([
      { test: 'listed', reason: 'because' },
      { test: 'all of *', reason: 'because' },
      { test: 'no reason' },
    ]),
  )
  const result = evaluate(
    clone,
    `import { checkSkips } from './scripts/testing/skips.mjs'
     console.log(JSON.stringify(checkSkips(['listed', 'all of these', 'no reason', 'unknown', 'all of those'])))`,
  )
  expect(result).toEqual({
    unlisted: ['no reason', 'unknown'],
    lines: [
      'skipped: listed: because',
      'skipped: all of * (2 tests): because',
      'skipped without a row in test/skips.json: no reason',
      'skipped without a row in test/skips.json: unknown',
    ],
  })
})

test('the sum of all steps names what failed in its last lines, above the totals', () => {
  using clone = new SmallClone()
  clone.write('test/skips.json', JSON.stringify([{ test: 'later', reason: 'because' }]))
  clone.write(
    'totals',
    [
      { passed: 3, failed: 1, skipped: ['later'], failures: ['the suite adds'] },
      { passed: 2, failed: 0, skipped: [] },
    ]
      .map((step) => `${JSON.stringify(step)}\n`)
      .join(''),
  )
  const env = { PRUDENT_CI_TOTALS: join(clone.root, 'totals') }
  const { status, stdout } = script(clone, 'testing/sum.mjs', [], env)
  expect(stdout).toBe('skipped: later: because\nfailed: the suite adds\n5 passed, 1 failed, 1 skipped\n')
  expect(status).toBe(1)
})

test('new:op writes every part of an operation once, and refuses names that are taken or wrong', () => {
  using clone = new SmallClone()
  const { status, stdout } = script(clone, 'new-op.mjs', ['soft_cap'])
  expect(status).toBe(0)
  for (const part of ['.h', '_kernel.h', '.cpp', '_reference.cpp', '_cpu.cpp']) {
    const text = readFileSync(join(clone.root, 'native', 'kernels', 'soft_cap', `soft_cap${part}`), 'utf8')
    expect(text).toMatch(/soft_cap/)
    expect(text).not.toMatch(/\{\{/)
    expect(stdout).toContain(`soft_cap${part}`)
  }
  expect(readFileSync(join(clone.root, 'native/tests/kernels/soft_cap_test.cpp'), 'utf8')).toContain(
    '"soft_cap: parity',
  )
  expect(script(clone, 'new-op.mjs', ['soft_cap'])).toMatchObject({ status: 2 })
  for (const name of ['SoftCap', 'soft-cap', '../x', '']) {
    expect(script(clone, 'new-op.mjs', [name])).toMatchObject({ status: 2 })
  }
})

test('without nvcc the CUDA check says so and counts as a listed skip', () => {
  using clone = new SmallClone()
  const totals = join(clone.folder, 'totals')
  const env = { CUDACXX: '/nowhere/nvcc', PRUDENT_CI_TOTALS: totals }
  const { status, stdout } = script(clone, 'check-cuda.mjs', [], env)
  expect(stdout).toMatch(/SKIPPED: there is no nvcc/)
  expect(status).toBe(0)
  expect(JSON.parse(readFileSync(totals, 'utf8'))).toEqual({
    passed: 0,
    failed: 0,
    skipped: ['CUDA compile check'],
    failures: [],
  })
})
