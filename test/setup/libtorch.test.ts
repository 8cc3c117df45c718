import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { which } from '../support/which.js'
import { makeLibtorch, SmallClone } from './clone.js'

/**
 * Stands for Python: `torch` answers where an importable torch lies, `pip` installs a folder of the wheel's shape with `--target`.
 * PIP_KNOWS lists what its index has.
 */
const PYTHON = `#!/bin/sh
case "$*" in
  "-m pip --version") exit \${PIP_STATUS:-0} ;;
  *find_spec*) echo "$TORCH_FOLDER"; exit 0 ;;
  *ctypes*) exit \${LOAD_STATUS:-0} ;;
esac
for last; do :; done
case " $PIP_KNOWS " in *" $last "*) ;; *) echo "No matching distribution found for $last"; exit 1 ;; esac
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/torch/include/ATen" "$2/torch/lib"
touch "$2/torch/include/ATen/ATen.h" "$2/torch/lib/libtorch_cpu.so"
echo "__version__ = '\${last#torch==}'" > "$2/torch/version.py"
`

/** PATH with the stand-in for Python first. */
function withPython(clone: SmallClone, extra: Record<string, string> = {}): Record<string, string | undefined> {
  const python = clone.write('python/python3', PYTHON)
  chmodSync(python, 0o755)
  const folder = clone.toolFolder({ python3: python })
  return {
    PATH: `${folder}:${process.env.PATH}`,
    PRUDENT_LIBTORCH: undefined,
    PRUDENT_CACHE: join(clone.folder, 'a cache'),
    ...extra,
  }
}

const used = (clone: SmallClone): { source: string; libtorch: { folder: string; version: string } } =>
  JSON.parse(readFileSync(join(clone.root, 'build', 'stamps', 'libtorch.json'), 'utf8'))

describe('where libtorch comes from', () => {
  test('the variable comes first, then the cache, then Python, then pip', async () => {
    using clone = new SmallClone()
    const torch = makeLibtorch(join(clone.folder, 'site-packages', 'torch'), '2.12.1')
    const environment = withPython(clone, { TORCH_FOLDER: torch, PIP_KNOWS: 'torch==2.13.0+cpu' })
    await clone.run([], environment)
    expect(used(clone)).toMatchObject({ source: 'Python', libtorch: { folder: torch, version: '2.12.1' } })

    const cached = makeLibtorch(join(clone.folder, 'a cache', 'libtorch-2.13.0-cpu', 'torch'), '2.13.0+cpu')
    expect((await clone.run([], environment)).stderr).toBe('')
    rmSync(join(clone.root, 'build', 'stamps', 'libtorch.json'))
    await clone.run([], environment)
    expect(used(clone)).toMatchObject({ source: 'cache', libtorch: { folder: cached } })

    const changed = await clone.run([], { ...environment, PRUDENT_LIBTORCH: clone.libtorch })
    expect(used(clone)).toMatchObject({ source: 'PRUDENT_LIBTORCH', libtorch: { folder: clone.libtorch } })
    expect(changed.stderr).toMatch(/configuring the native build/)
  })

  test('pip installs the CPU build beside and renames it; what a killed one left is removed', async () => {
    using clone = new SmallClone()
    const cache = join(clone.folder, 'a cache')
    mkdirSync(join(cache, 'partial-1'), { recursive: true })
    const { status, stderr } = await clone.run([], withPython(clone, { PIP_KNOWS: 'torch==2.13.0+cpu' }))
    expect(`${status} ${stderr}`).toMatch(/^0/)
    expect(readdirSync(cache)).toEqual(['libtorch-2.13.0-cpu'])
    expect(used(clone)).toMatchObject({
      source: 'pip',
      libtorch: { folder: join(cache, 'libtorch-2.13.0-cpu', 'torch') },
    })
  })

  test('where pip has no CPU build it says how to get it, and takes the plain one', async () => {
    using clone = new SmallClone()
    const { status, stderr } = await clone.run([], withPython(clone, { PIP_KNOWS: 'torch==2.13.0' }))
    expect(stderr).toMatch(/PIP_EXTRA_INDEX_URL=\S+\/whl\/cpu[\s\S]*GB/)
    expect(status).toBe(0)
    expect(used(clone).libtorch.version).toBe('2.13.0')
  })

  test('a folder that is not in use any more is replaced by what the order gives', async () => {
    using clone = new SmallClone()
    const environment = withPython(clone, { PIP_KNOWS: 'torch==2.13.0+cpu' })
    await clone.run([], environment)
    rmSync(join(clone.folder, 'a cache', 'libtorch-2.13.0-cpu', 'torch', 'lib'), { recursive: true })
    const { status } = await clone.run([], environment)
    expect(status).toBe(0)
    expect(existsSync(join(used(clone).libtorch.folder, 'lib', 'libtorch_cpu.so'))).toBe(true)
  })
})

describe('refusals', () => {
  test.each([
    ['2.9.0', /supported is 2\.11 to 2\.13/],
    ['2.14.0', /supported is 2\.11 to 2\.13/],
  ])('PRUDENT_LIBTORCH of version %s', async (version, message) => {
    using clone = new SmallClone()
    const folder = makeLibtorch(join(clone.folder, 'other'), version)
    const { status, stderr } = await clone.run([], { PRUDENT_LIBTORCH: folder })
    expect(status).toBe(1)
    expect(stderr).toMatch(/E_LIBTORCH: PRUDENT_LIBTORCH/)
    expect(stderr).toMatch(message)
  })

  test('PRUDENT_LIBTORCH that holds nothing is an error, not a reason to look elsewhere', async () => {
    using clone = new SmallClone()
    const { status, stderr } = await clone.run([], {
      ...withPython(clone, { PIP_KNOWS: 'torch==2.13.0+cpu' }),
      PRUDENT_LIBTORCH: clone.root,
    })
    expect(status).toBe(1)
    expect(stderr).toMatch(/E_LIBTORCH/)
  })

  test('an importable torch that is too old, or does not load, is passed over aloud', async () => {
    using clone = new SmallClone()
    const old = makeLibtorch(join(clone.folder, 'old'), '2.5.1')
    const environment = withPython(clone, { TORCH_FOLDER: old, PIP_KNOWS: 'torch==2.13.0+cpu' })
    const { status, stderr } = await clone.run([], environment)
    expect(stderr).toMatch(/is of no use: .*2\.5\.1/)
    expect(status).toBe(0)
    expect(used(clone).source).toBe('pip')
  })

  test('without pip, without Python, without an index: named, with what to do', async () => {
    using clone = new SmallClone()
    const noPip = await clone.run([], withPython(clone, { PIP_STATUS: '1' }))
    expect(noPip.stderr).toMatch(/E_TOOL: missing: pip for .*\(Debian package: python3-pip\)/)
    const offline = await clone.run([], withPython(clone))
    expect(offline.stderr).toMatch(/E_LIBTORCH: pip could not install torch==2\.13\.0[\s\S]*No matching distribution/)
    const tools = Object.fromEntries(['npm', 'c++', 'cmake', 'make', 'sh'].map((name) => [name, which(name)]))
    const PATH = clone.toolFolder({ node: process.execPath, ...tools })
    const noPython = await clone.run([], { PATH, PRUDENT_LIBTORCH: undefined })
    expect(noPython.stderr).toMatch(/E_TOOL: missing: Python 3.*\(Debian package: python3\)/)
    for (const { status } of [noPip, offline, noPython]) expect(status).toBe(1)
  })

  test('a wheel that does not load never gets into the cache', async () => {
    using clone = new SmallClone()
    const { status, stderr } = await clone.run(
      [],
      withPython(clone, { PIP_KNOWS: 'torch==2.13.0+cpu', LOAD_STATUS: '1' }),
    )
    expect(status).toBe(1)
    expect(stderr).toMatch(/E_LIBTORCH: the torch that pip installed cannot be used/)
    expect(readdirSync(join(clone.folder, 'a cache')).filter((name) => name.startsWith('libtorch-'))).toEqual([])
  })
})

describe('where it may write', () => {
  test('a HOME that cannot be written: the cache lies in the clone', async () => {
    using clone = new SmallClone()
    // Nobody can make files in /proc, root included.
    const environment = {
      ...withPython(clone, { PIP_KNOWS: 'torch==2.13.0+cpu' }),
      HOME: '/proc/self',
      PRUDENT_CACHE: undefined,
    }
    const { status, stderr } = await clone.run([], environment)
    expect(`${status} ${stderr}`).toMatch(/^0/)
    expect(existsSync(join(clone.root, '.cache', 'libtorch-2.13.0-cpu', 'torch'))).toBe(true)
    expect((await clone.run([], environment)).stderr).toBe('')
  })

  const asNobody = ['-u', 'nobody', '--', process.execPath]
  const canBecomeNobody = process.getuid?.() === 0 && spawnSync('runuser', [...asNobody, '-e', '0']).status === 0
  const isUser = process.getuid?.() !== 0
  ;(isUser || canBecomeNobody ? test : test.skip)('works for a user without privileges', async () => {
    using clone = new SmallClone()
    if (isUser) {
      expect(await clone.run()).toMatchObject({ status: 0 })
      return
    }
    spawnSync('chown', ['-R', 'nobody', clone.folder])
    chmodSync(clone.folder, 0o755)
    const script = join(clone.root, 'scripts', 'setup.mjs')
    const { status, stderr } = spawnSync('runuser', [...asNobody, script], {
      env: clone.environment(),
      cwd: clone.root,
      encoding: 'utf8',
    })
    expect(`${status} ${stderr}`).toMatch(/^0/)
  })
})
