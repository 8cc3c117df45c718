import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { CMAKE_PROJECT, makeLibtorch } from '../setup/clone.js'
import { MODEL, type Packed, Project, pack, packPlatform, platformPackage, repository, version } from './project.js'
import { CONSUMERS, SCORE, TYPED, TYPES_CONFIG } from './scripts.js'

jest.setTimeout(120_000)

let folder: string
let packed: Packed
let platformTarball: string
let project: Project
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'prudent-packed-'))
  packed = pack(folder)
  platformTarball = packPlatform(folder)
  project = new Project({ prudent: packed.tarball, [platformPackage]: platformTarball })
}, 120_000)
afterAll(() => {
  project?.[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('the tarball', () => {
  /** `native/kernels/**: .cpp .cu .h`: what kind of file lies where, not each one's name. */
  function rooms(paths: readonly string[]): string[] {
    const kinds = new Map<string, Set<string>>()
    for (const path of paths) {
      const parts = path.split('/')
      const room = parts.length === 1 ? path : `${parts.slice(0, Math.min(2, parts.length - 1)).join('/')}/`
      const kind = parts.length === 1 ? '' : /\.d\.ts$/.test(path) ? '.d.ts' : extname(path) || (parts.at(-1) as string)
      kinds.set(room, (kinds.get(room) ?? new Set()).add(kind))
    }
    return [...kinds].map(([room, names]) => `${room} ${[...names].sort().join(' ')}`.trim()).sort()
  }

  test('holds what runs and what the addon is built from, and nothing else', () => {
    const present = rooms(packed.files.map(({ path }) => path))
    expect(present.filter((room) => !room.startsWith('native/'))).toEqual([
      'CHANGELOG.md',
      'CMakeLists.txt',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'bin/ .js',
      'cmake/ .cmake',
      'configs/ .yaml',
      'configs/schema/ .json',
      'dist/ts/ .d.ts .js',
      'package.json',
      'scripts/ .mjs .py',
      'scripts/setup/ .mjs',
    ])
    for (const room of present.filter((each) => each.startsWith('native/')))
      expect(room).toMatch(/^native\/(?!tests)[\w-]*\/?( \.cpp| \.cu| \.cuh| \.h| \.txt)+$/)
    expect(present).toEqual(
      expect.arrayContaining(['native/binding/ .cpp .h .txt', 'native/kernels/ .cpp .cu .cuh .h .txt']),
    )
  })

  test('weighs less than 3 MB', () => {
    expect(packed.bytes).toBeLessThan(3e6)
  })

  test('a stray file would be seen', () => {
    expect(rooms(['bin/prudent.js', 'bin/secret.env', 'notes.txt'])).toEqual(['bin/ .env .js', 'notes.txt'])
  })
})

describe('imports', () => {
  test('load no addon, start no process, open no connection and write nothing', () => {
    const file = project.write('quiet.mjs', CONSUMERS.quiet)
    expect(project.node([file])).toEqual({ status: 0, signal: null, stdout: 'quiet\n', stderr: '' })
    expect(existsSync(project.cache)).toBe(false)
  })

  test('by import and by require give one and the same build', () => {
    const file = project.write('both.cjs', CONSUMERS.both)
    expect(project.node([file])).toEqual({ status: 0, signal: null, stdout: 'one build\n', stderr: '' })
  })

  test('what exports does not name stays inside', () => {
    const file = project.write('deep.mjs', "await import('prudent/dist/ts/index.js')\n")
    expect(project.node([file]).stderr).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })

  test.each(['typed.mts', 'typed.cts'] as const)('TypeScript finds the types from %s', (name) => {
    project.write(name, TYPED[name])
    project.write('tsconfig.json', JSON.stringify(TYPES_CONFIG(repository, name)))
    const tsc = join(repository, 'node_modules', 'typescript-native', 'bin', 'tsc')
    const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', project.folder], { encoding: 'utf8' })
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
    project.write(name, TYPED[name].replace('std: number | null', 'std: string'))
    expect(spawnSync(process.execPath, [tsc, '-p', project.folder], { encoding: 'utf8' }).stdout).toMatch(/TS2322/)
  })
})

describe('without an addon', () => {
  const installed = () => join(project.modules, platformPackage)
  beforeAll(() => renameSync(installed(), `${installed()}.away`))
  afterAll(() => renameSync(`${installed()}.away`, installed()))

  test('the first call says that it is missing, where it was looked for and what to run', () => {
    const file = project.write('score.mjs', SCORE(MODEL))
    const { stdout } = project.node([file])
    const { code, message } = JSON.parse(stdout) as { code: string; message: string }
    expect(code).toBe('E_NOT_BUILT')
    expect(message).toMatch(/^the native addon is missing .*: run `npx prudent setup`$/)
    expect(message).toContain(join(project.cache, `addon-${version}-${process.platform}-${process.arch}`))
  })

  test('so do the command line and doctor', () => {
    const input = project.write('rows.jsonl', '{"text":"a"}\n')
    const scored = project.prudent([
      'score',
      '--model',
      MODEL,
      '--input',
      input,
      '--output',
      join(project.folder, 'out.jsonl'),
    ])
    expect(scored.stderr).toMatch(/error E_NOT_BUILT: the native addon is missing/)
    expect(scored.status).toBe(1)
    expect(project.prudent(['doctor']).stdout).toMatch(/problem +E_NOT_BUILT: .*npx prudent setup/)
  })
})

describe('with the platform package', () => {
  test('libtorch that is not in the cache is what is missing', () => {
    const { stdout } = project.node([project.write('score.mjs', SCORE(MODEL))])
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'E_LIBTORCH',
      message: expect.stringMatching(/received nothing in .*cache; run `npx prudent setup`/),
    })
  })

  test('scores come with error bars, from ES modules, CommonJS and worker threads', () => {
    project.layLibtorch()
    const scored = project.node([project.write('score.mjs', SCORE(MODEL))])
    expect({ ...scored, stdout: '' }).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
    const rows = JSON.parse(scored.stdout) as { scores: number[]; mean: number; std: number }[]
    expect(rows).toHaveLength(2)
    for (const { scores, mean, std } of rows) {
      expect(mean).toBeCloseTo(scores.reduce((sum, score) => sum + score, 0) / scores.length, 5)
      expect(std).toBeGreaterThan(0)
    }
    expect(JSON.parse(project.node([project.write('score.cjs', CONSUMERS.scoreCjs(MODEL))]).stdout)).toEqual(rows)
    const workers = project.node([project.write('workers.mjs', CONSUMERS.workers(MODEL))])
    expect(JSON.parse(workers.stdout)).toEqual([rows, rows, rows])
  })

  test('two copies of the package in one process score alike', () => {
    const copy = join(project.folder, 'copy', 'node_modules')
    cpSync(project.installed, join(copy, 'prudent'), { recursive: true })
    cpSync(join(project.modules, platformPackage), join(copy, platformPackage), { recursive: true })
    const file = project.write('copies.mjs', CONSUMERS.copies(MODEL))
    const { stdout, stderr } = project.node([file])
    expect(stderr).toBe('')
    const { apart, first, second } = JSON.parse(stdout) as { apart: boolean; first: unknown; second: unknown }
    expect(apart).toBe(true)
    expect(second).toEqual(first)
  })

  test('one of another version is refused', () => {
    const file = join(project.modules, platformPackage, 'package.json')
    const kept = join(project.folder, 'kept.json')
    renameSync(file, kept)
    project.write(join('node_modules', platformPackage, 'package.json'), JSON.stringify({ version: '9.9.9' }))
    const { stdout } = project.node([project.write('score.mjs', SCORE(MODEL))])
    renameSync(kept, file)
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'E_NOT_BUILT',
      message: expect.stringContaining(`expected version ${version}, that of prudent, received 9.9.9`),
    })
  })
})

describe('the service', () => {
  test('prudent serve names fastify where the project lacks it', () => {
    const { status, stderr } = project.prudent(['serve', '--model', MODEL, '--port', '0'])
    expect(stderr).toMatch(/error E_TOOL: prudent serve needs .*`npm install fastify`/)
    expect(status).toBe(1)
  })

  test('the plugin runs in a CommonJS host with a Fastify of its own', () => {
    symlinkSync(join(repository, 'node_modules', 'fastify'), join(project.modules, 'fastify'))
    const ran = project.node([project.write('plugin.cjs', CONSUMERS.plugin(MODEL))])
    rmSync(join(project.modules, 'fastify'))
    expect(ran).toEqual({ status: 0, signal: null, stdout: '200 mean,std,heads\n', stderr: '' })
  })
})

describe('npx prudent setup', () => {
  /** Node alone: no compiler, no CMake, no Python. */
  function emptyPath(): string {
    const tools = join(project.folder, 'tools')
    mkdirSync(tools, { recursive: true })
    if (!existsSync(join(tools, 'node'))) symlinkSync(process.execPath, join(tools, 'node'))
    return tools
  }
  const contents = () => readdirSync(project.installed)

  test('takes the addon of the platform package, needs no tools for it and leaves node_modules alone', () => {
    project.layLibtorch()
    const listed = contents()
    const first = project.prudent(['setup'], { PATH: emptyPath() })
    expect(first.stderr).toMatch(new RegExp(`the addon is that of ${platformPackage}`))
    expect(first.status).toBe(0)
    const again = project.prudent(['setup'], { PATH: emptyPath() })
    expect(again.stderr).toMatch(/^set-up: ready: \S.*\n$/)
    expect(contents()).toEqual(listed)
    // What set-up has laid out goes before the platform package.
    expect(project.prudent(['doctor']).stdout).toMatch(/^addon +.*cache.addon-/m)
    expect(JSON.parse(project.node([project.write('score.mjs', SCORE(MODEL))]).stdout)).toHaveLength(2)
  })

  test('says which tool is missing where there is nothing to take', () => {
    const away = join(project.folder, 'away')
    renameSync(join(project.modules, platformPackage), away)
    const { status, stderr } = project.prudent(['setup'], { PATH: emptyPath() })
    renameSync(away, join(project.modules, platformPackage))
    expect(stderr).toMatch(/E_TOOL: missing: C\+\+ compiler/)
    expect(status).toBe(1)
  })

  test('builds the addon in the cache where there is no such package', () => {
    rmSync(join(project.modules, platformPackage), { recursive: true })
    rmSync(project.cache, { recursive: true })
    // The real sources take minutes: build.long.test.ts.
    project.write(join('node_modules', 'prudent', 'CMakeLists.txt'), CMAKE_PROJECT)
    project.write(join('node_modules', 'prudent', 'native', 'one.cpp'), 'extern "C" int one() { return 1; }\n')
    const listed = contents()
    const libtorch = makeLibtorch(join(project.folder, 'libtorch'), '2.12.1')
    const settings = { PRUDENT_LIBTORCH: libtorch, CCACHE_DISABLE: '1' }
    const { status, stderr } = project.prudent(['setup'], settings)
    expect(stderr).toMatch(/building the addon/)
    expect(status).toBe(0)
    expect(contents()).toEqual(listed)
    const made = join(project.cache, `addon-${version}-${process.platform}-${process.arch}`, 'cmake')
    expect(readdirSync(made)).toEqual(['Release'])
    expect(readdirSync(join(made, 'Release')).sort()).toEqual(['libtorch.json', 'prudent.node', 'prudent_loader.node'])
    expect(project.prudent(['setup'], settings).stderr).toMatch(/^set-up: ready: \S.*\n$/)
    // Another project with the same version shares it.
    const stamp = join(made, '..', 'stamps', 'native.json')
    const print = readFileSync(stamp, 'utf8')
    renameSync(project.installed, `${project.installed}-elsewhere`)
    mkdirSync(join(project.folder, 'other', 'node_modules'), { recursive: true })
    const moved = join(project.folder, 'other', 'node_modules', 'prudent')
    renameSync(`${project.installed}-elsewhere`, moved)
    expect(project.node([join(moved, 'bin', 'prudent.js'), 'setup'], settings).stderr).toMatch(/^set-up: ready: /)
    expect(readFileSync(stamp, 'utf8')).toBe(print)
  })
})
