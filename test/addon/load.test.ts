import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'

const repository = resolve(import.meta.dirname, '..', '..', '..')
const built = join(repository, 'build', 'cmake', 'Release')
const stamp = JSON.parse(readFileSync(join(built, 'libtorch.json'), 'utf8')) as {
  version: string
  folder: string
  cuda: boolean
}

/** An installed package in small, whose build can be broken: bin, compiled ts, node_modules and a folder for the addon. */
let root: string
const release = (): string => join(root, 'build', 'cmake', 'Release')

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'prudent package '))
  for (const name of ['package.json', 'bin', 'dist/ts'])
    cpSync(join(repository, name), join(root, name), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Puts the addon into the package, with changes to what was written down of its libtorch. */
function layOutBuild(change: Partial<typeof stamp> = {}): void {
  rmSync(join(root, 'build'), { recursive: true, force: true })
  mkdirSync(release(), { recursive: true })
  for (const name of ['prudent.node', 'prudent_loader.node']) copyFileSync(join(built, name), join(release(), name))
  writeFileSync(join(release(), 'libtorch.json'), JSON.stringify({ ...stamp, ...change }))
}

/** What the developer has in the cache is not the test's. */
const ALONE = () => ({ PRUDENT_LIBTORCH: '', PRUDENT_CACHE: join(root, 'no cache') })

/** Loads the addon in a process of its own: `ok` and the libtorch it found, or the code and message of the error. */
function load(env: Record<string, string> = {}): string {
  const script = `
    const { loadAddon } = await import('./dist/ts/addon/load.js')
    try { console.log('ok', loadAddon().systemInfo().libtorch) } catch (error) { console.log(error.code, error.message) }`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...ALONE(), ...env },
  })
  return stdout + stderr
}

describe('loading the addon', () => {
  test('finds the libtorch that it was built against, with no search path set', () => {
    layOutBuild()
    expect(load({ LD_LIBRARY_PATH: '' })).toMatch(/^ok 2\.1[1-3]/)
  })

  test('PRUDENT_LIBTORCH comes first, and must hold it', () => {
    layOutBuild({ folder: '/nowhere' })
    expect(load({ PRUDENT_LIBTORCH: stamp.folder })).toMatch(/^ok/)
    layOutBuild()
    expect(load({ PRUDENT_LIBTORCH: root })).toMatch(
      /^E_LIBTORCH libtorch: expected .* received nothing in PRUDENT_LIBTORCH/,
    )
  })

  test('a libtorch that has gone is looked for in the cache of clones', () => {
    layOutBuild({ folder: '/nowhere/libtorch-2.13.0-cpu/torch' })
    expect(load({ PRUDENT_CACHE: join(root, 'cache') })).toMatch(/^E_LIBTORCH/)
    mkdirSync(join(root, 'cache', 'libtorch-2.13.0-cpu'), { recursive: true })
    symlinkSync(stamp.folder, join(root, 'cache', 'libtorch-2.13.0-cpu', 'torch'))
    expect(load({ PRUDENT_CACHE: join(root, 'cache') })).toMatch(/^ok/)
  })

  test('another version than the one built against is refused', () => {
    layOutBuild({ version: '2.3.0+cpu' })
    expect(load()).toMatch(
      /^E_LIBTORCH libtorch: expected 2\.3\.0\+cpu, which the addon was built against, received 2\.1[1-3]/,
    )
  })

  test('no build, half a build and a damaged build are told apart', () => {
    rmSync(join(root, 'build'), { recursive: true, force: true })
    expect(load()).toMatch(/^E_NOT_BUILT the native addon is missing .*: run `npx prudent setup`/)
    layOutBuild()
    rmSync(join(release(), 'prudent.node'))
    expect(load()).toMatch(/^E_NOT_BUILT .*no prudent\.node/)
    writeFileSync(join(release(), 'prudent.node'), 'not a library')
    expect(load()).toMatch(/^E_LIBTORCH prudent\.node does not fit/)
  })
})

describe('the launcher and doctor', () => {
  const prudent = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, 'bin', 'prudent.js'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, ...ALONE() },
    })

  test('doctor tells all that a bug report asks for', () => {
    layOutBuild()
    const { status, stdout } = prudent('doctor')
    expect(status).toBe(0)
    for (const word of [
      'prudent',
      'node',
      'libtorch',
      'cpu',
      'bf16',
      'threads',
      'cuda',
      'Gloo',
      'NCCL',
      'prudent cache',
      'hub cache',
    ])
      expect(stdout).toContain(word)
    const found = JSON.parse(prudent('doctor', '--json').stdout) as Record<string, { built?: string; bf16?: boolean }>
    expect(found).toMatchObject({
      problems: [],
      libtorch: { built: stamp.version, folder: stamp.folder },
      threads: { lanes: 1 },
    })
    expect(typeof found.cpu?.bf16).toBe('boolean')
  })

  test('doctor works without the addon, names the problem and fails', () => {
    rmSync(join(root, 'build'), { recursive: true, force: true })
    const { status, stdout } = prudent('doctor')
    expect(status).toBe(1)
    expect(stdout).toMatch(/problem +E_NOT_BUILT/)
    expect(stdout).toMatch(/prudent cache/)
  })

  test('help comes in a moment and names every command; a wrong one is a usage error', () => {
    const begun = performance.now()
    const { status, stdout } = prudent('--help')
    expect(performance.now() - begun).toBeLessThan(3000)
    expect(status).toBe(0)
    for (const name of ['reproduce', 'train', 'score', 'generate', 'logprobs', 'report', 'setup', 'doctor'])
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
    expect(prudent('nonsense')).toMatchObject({ status: 2, stdout: '' })
  })

  test('without the compiled TypeScript it says how to build', () => {
    rmSync(join(root, 'dist'), { recursive: true, force: true })
    const { status, stderr } = prudent('doctor')
    expect(status).toBe(1)
    expect(stderr).toMatch(/E_NOT_BUILT: .*npm start/)
  })
})
