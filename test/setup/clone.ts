/**
 * A clone in small: the real scripts, lock file and node_modules around a CMake project of one source file, so that set-up's own
 * code runs as a process in seconds. libtorch is a folder of the right shape; nothing here loads it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '..', '..', '..')

/** Makes the outputs of the real project from one file. */
export const CMAKE_PROJECT = `cmake_minimum_required(VERSION 3.22)
project(small LANGUAGES CXX)
add_library(prudent MODULE native/one.cpp)
add_library(prudent_loader MODULE native/one.cpp)
set_target_properties(prudent prudent_loader PROPERTIES PREFIX "" SUFFIX ".node")
file(WRITE \${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libtorch.json "{}")
add_custom_target(addon DEPENDS prudent prudent_loader)
if(PRUDENT_TESTS)
  add_library(cpp_tests MODULE native/tests/one.cpp)
endif()
`

export interface Finished {
  status: number | null
  signal: NodeJS.Signals | null
  stderr: string
  milliseconds: number
}

/** A folder that looks like a torch wheel's torch/. */
export function makeLibtorch(folder: string, version: string): string {
  mkdirSync(join(folder, 'include', 'ATen'), { recursive: true })
  mkdirSync(join(folder, 'lib'), { recursive: true })
  writeFileSync(join(folder, 'include', 'ATen', 'ATen.h'), '')
  writeFileSync(join(folder, 'lib', 'libtorch_cpu.so'), '')
  writeFileSync(join(folder, 'version.py'), `__version__ = '${version}'\n`)
  return folder
}

export class SmallClone implements Disposable {
  readonly root: string
  readonly libtorch: string
  /** Everything of this clone lies in here. */
  readonly folder: string
  private readonly toolFolders: string[] = []
  private readonly children: ChildProcess[] = []

  /** The name of the folder holds a space, as users' paths do. */
  constructor(options: { linkModules?: boolean } = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'prudent set-up '))
    this.root = join(this.folder, 'the clone')
    mkdirSync(this.root)
    for (const name of ['scripts', 'package.json', 'package-lock.json', '.npmrc']) {
      cpSync(join(repository, name), join(this.root, name), { recursive: true })
    }
    if (options.linkModules ?? true) symlinkSync(join(repository, 'node_modules'), join(this.root, 'node_modules'))
    this.write('CMakeLists.txt', CMAKE_PROJECT)
    this.write('native/one.cpp', 'extern "C" int one() { return 1; }\n')
    this.write('native/tests/one.cpp', 'extern "C" int one_of_tests() { return 1; }\n')
    this.write('ts/index.ts', 'export const one = 1\n')
    this.write(
      'tsconfig.json',
      JSON.stringify({
        compilerOptions: { rootDir: '.', outDir: 'dist', module: 'nodenext', types: [] },
        include: ['ts'],
      }),
    )
    this.libtorch = makeLibtorch(join(this.folder, 'libtorch of mine'), '2.13.0+cpu')
  }

  write(name: string, text: string): string {
    const file = join(this.root, name)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, text)
    return file
  }

  /** A folder of links to programs, to be the whole of PATH. */
  toolFolder(tools: Record<string, string>): string {
    // No space here: GNU make cannot itself live in such a folder.
    const folder = mkdtempSync(join(tmpdir(), 'prudent-tools-'))
    this.toolFolders.push(folder)
    for (const [name, target] of Object.entries(tools)) symlinkSync(target, join(folder, name))
    return folder
  }

  /** HOME, XDG_CACHE_HOME and the like are the test's own, never the developer's. */
  environment(extra: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
    const { PATH, TMPDIR } = process.env
    const own = join(this.folder, 'home')
    mkdirSync(own, { recursive: true })
    return { PATH, TMPDIR, HOME: own, CI: 'true', PRUDENT_LIBTORCH: this.libtorch, CCACHE_DISABLE: '1', ...extra }
  }

  start(args: string[] = [], extra: Record<string, string | undefined> = {}): ChildProcess {
    const child = spawn(process.execPath, [join(this.root, 'scripts', 'setup.mjs'), ...args], {
      cwd: tmpdir(),
      env: this.environment(extra),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.children.push(child)
    return child
  }

  async run(args: string[] = [], extra: Record<string, string | undefined> = {}): Promise<Finished> {
    return finish(this.start(args, extra))
  }

  [Symbol.dispose](): void {
    for (const child of this.children) child.kill('SIGKILL')
    for (const folder of [this.folder, ...this.toolFolders]) rmSync(folder, { recursive: true, force: true })
  }
}

export async function finish(child: ChildProcess): Promise<Finished> {
  const begun = performance.now()
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { status, signal, stderr, milliseconds: performance.now() - begun }
}

/** Resolves when the child has written a line that matches. */
export async function seen(child: ChildProcess, pattern: RegExp): Promise<void> {
  let text = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk: Buffer | string) => {
      text += chunk
      if (pattern.test(text)) resolve()
    })
    child.once('close', () => reject(new Error(`ended without ${pattern}:\n${text}`)))
  })
}
