import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { which } from '../support/which.js'
import { finish, SmallClone, seen } from './clone.js'

/** Nothing may be fetched: a proxy that answers nobody, npm offline, pip without an index. */
const OFFLINE = {
  npm_config_offline: 'true',
  PIP_NO_INDEX: '1',
  HTTP_PROXY: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
}
/** A compiler that takes its time, so that a build can be met half-way. */
const SLOW_COMPILER = '#!/bin/sh\ncase "$*" in *one.cpp*) sleep 1;; esac\nexec c++ "$@"\n'

function slowCompiler(clone: SmallClone): string {
  const file = clone.write('slow-c++', SLOW_COMPILER)
  chmodSync(file, 0o755)
  return file
}

const addon = (clone: SmallClone): string => join(clone.root, 'build', 'cmake', 'Release', 'prudent.node')

describe('a clone that is set up', () => {
  test('is built offline, in a path with spaces; a second run does nothing and says nothing', async () => {
    using clone = new SmallClone()
    const first = await clone.run([], OFFLINE)
    expect(first).toMatchObject({ status: 0 })
    expect(existsSync(addon(clone))).toBe(true)
    expect(existsSync(join(clone.root, 'dist', 'ts', 'index.js'))).toBe(true)
    const made = statSync(addon(clone)).mtimeMs
    const second = await clone.run([], OFFLINE)
    expect(second).toMatchObject({ status: 0, stderr: '' })
    expect(second.milliseconds).toBeLessThan(2000)
    expect(statSync(addon(clone)).mtimeMs).toBe(made)
  })

  test('a changed source is built again and nothing else; a deleted one leaves no compiled file', async () => {
    using clone = new SmallClone()
    clone.write('ts/gone.ts', 'export const gone = 1\n')
    await clone.run()
    rmSync(join(clone.root, 'ts', 'gone.ts'))
    const typescript = await clone.run()
    expect(typescript.stderr).toMatch(/compiling TypeScript/)
    expect(typescript.stderr).not.toMatch(/building the addon/)
    expect(existsSync(join(clone.root, 'dist', 'ts', 'gone.js'))).toBe(false)
    clone.write('native/one.cpp', 'extern "C" int one() { return 2; }\n')
    const native = await clone.run()
    expect(native.stderr).toMatch(/building the addon/)
    expect(native.stderr).not.toMatch(/configuring|compiling TypeScript/)
  })

  test('C++ tests are built when asked for, and stay built without being asked for', async () => {
    using clone = new SmallClone()
    const doctest = join(clone.root, 'headers')
    mkdirSync(join(doctest, 'doctest'), { recursive: true })
    writeFileSync(join(doctest, 'doctest', 'doctest.h'), '')
    expect((await clone.run(['--tests'], { CPATH: doctest })).stderr).toMatch(/building the C\+\+ tests/)
    expect((await clone.run(['--tests'], { CPATH: doctest })).stderr).toBe('')
    expect((await clone.run([], { CPATH: doctest })).stderr).toBe('')
  })
})

describe('failures', () => {
  test('a compile error and a type error end with E_BUILD and show what the compiler said', async () => {
    using clone = new SmallClone()
    clone.write('native/one.cpp', 'int broken( { }\n')
    const native = await clone.run()
    expect(native.status).toBe(1)
    expect(native.stderr).toMatch(/E_BUILD: the native build failed/)
    expect(native.stderr).toMatch(/one\.cpp:1:.*error/)
    clone.write('native/one.cpp', 'extern "C" int one() { return 1; }\n')
    clone.write('ts/index.ts', "export const one: number = 'one'\n")
    const typescript = await clone.run()
    expect(typescript.status).toBe(1)
    expect(typescript.stderr).toMatch(/E_BUILD: TypeScript found errors[\s\S]*index\.ts\(1,14\)/)
  })

  test('every missing tool is named with its Debian package', async () => {
    using clone = new SmallClone()
    const { status, stderr } = await clone.run([], { PATH: clone.toolFolder({ node: process.execPath }) })
    expect(status).toBe(1)
    for (const name of ['E_TOOL', 'g++', 'cmake', 'ninja-build', 'package: npm']) expect(stderr).toContain(name)
  })

  test.each([
    ['cmake', /missing: CMake \(Debian package: cmake\)/],
    ['c++', /missing: C\+\+ compiler \(Debian package: g\+\+\)/],
    ['make', /missing: make or ninja \(Debian package: make/],
  ])('without %s', async (absent, message) => {
    using clone = new SmallClone()
    const all = {
      node: process.execPath,
      npm: which('npm'),
      'c++': which('c++'),
      cmake: which('cmake'),
      make: which('make'),
    }
    const PATH = clone.toolFolder(Object.fromEntries(Object.entries(all).filter(([name]) => name !== absent)))
    const { status, stderr } = await clone.run([], { PATH })
    expect(status).toBe(1)
    expect(stderr).toMatch(message)
  })

  test('make serves where ninja is missing; Python is not needed while libtorch is there', async () => {
    using clone = new SmallClone()
    const tools = Object.fromEntries(
      ['npm', 'c++', 'cmake', 'make', 'as', 'ld', 'ar', 'ranlib', 'sh'].map((name) => [name, which(name)]),
    )
    const { status, stderr } = await clone.run([], { PATH: clone.toolFolder({ node: process.execPath, ...tools }) })
    expect(stderr).toMatch(/no Python 3 \(Debian package: python3\)/)
    expect(`${status} ${stderr}`).toMatch(/^0/)
    expect(existsSync(join(clone.root, 'build', 'cmake', 'Makefile'))).toBe(true)
  })

  test('an unknown option is a usage error', async () => {
    using clone = new SmallClone()
    expect(await clone.run(['--nothing'])).toMatchObject({ status: 2 })
  })
})

describe('two set-ups at once', () => {
  test('the second waits, says so, and finds everything done', async () => {
    using clone = new SmallClone()
    const CXX = slowCompiler(clone)
    const first = clone.start([], { CXX })
    await seen(first, /configuring/)
    const second = clone.run([], { CXX })
    const [one, two] = await Promise.all([finish(first), second])
    expect(one.status).toBe(0)
    expect(two.status).toBe(0)
    expect(two.stderr).toMatch(new RegExp(`another set-up is running already \\(process ${first.pid}`))
    expect(two.stderr).not.toMatch(/building/)
  })

  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'after %s half-way the next one takes over and finishes',
    async (signal) => {
      using clone = new SmallClone()
      const CXX = slowCompiler(clone)
      const first = clone.start([], { CXX })
      await seen(first, /building the addon/)
      const ended = finish(first)
      first.kill(signal)
      const one = await ended
      expect(signal === 'SIGKILL' ? one.signal : one.status).toBe(signal === 'SIGKILL' ? 'SIGKILL' : 143)
      expect(existsSync(addon(clone))).toBe(false)
      const second = await clone.run([], { CXX })
      expect(second.stderr.includes('stale lock')).toBe(signal === 'SIGKILL')
      expect(second.status).toBe(0)
      expect(existsSync(addon(clone))).toBe(true)
      expect((await clone.run([], { CXX })).stderr).toBe('')
    },
  )

  test('a lock whose process is gone, or whose number another process has now, is stale', async () => {
    using clone = new SmallClone()
    const lock = join(clone.root, 'build', 'setup.lock')
    mkdirSync(join(clone.root, 'build'))
    for (const owner of [
      { pid: 2 ** 22 + 1, start: 'x' },
      { pid: process.pid, start: 'another boot/1' },
    ]) {
      writeFileSync(lock, JSON.stringify({ owner, host: hostname() }))
      const { status, stderr } = await clone.run()
      expect(stderr).toMatch(/removing the stale lock/)
      expect(status).toBe(0)
      expect(existsSync(lock)).toBe(false)
    }
  })

  test('a lock that is held on another machine is respected', async () => {
    using clone = new SmallClone()
    mkdirSync(join(clone.root, 'build'))
    const lock = join(clone.root, 'build', 'setup.lock')
    writeFileSync(lock, JSON.stringify({ owner: { pid: 1, start: 'x' }, host: 'elsewhere' }))
    const child = clone.start()
    const ended = finish(child)
    await seen(child, /running already \(process 1 on elsewhere\)/)
    await sleep(500)
    expect(readFileSync(lock, 'utf8')).toContain('elsewhere')
    rmSync(lock)
    expect(await ended).toMatchObject({ status: 0 })
  })
})
