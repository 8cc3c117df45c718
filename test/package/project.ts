/**
 * An empty project elsewhere that installs the tarballs `npm pack` makes of this clone. Its lock file is this clone's, less what is
 * for development, so that npm takes from its cache what set-up has put there and the versions are those that are tested.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'

export const repository = resolve(import.meta.dirname, '..', '..', '..')
export const MODEL = join(repository, 'test', 'cli', 'files', 'gemma-ensemble')

type Manifest = Record<string, unknown> & { name: string; version: string }
const readManifest = (folder: string) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
const own = readManifest(repository)
export const version = own.version

/** libtorch of this clone's build. */
export const stamp = JSON.parse(
  readFileSync(join(repository, 'build', 'cmake', 'Release', 'libtorch.json'), 'utf8'),
) as { version: string; folder: string; cuda: boolean }
const minor = stamp.version.split('.').slice(0, 2).join('.')
export const platformPackage = `prudent-${process.platform}-${process.arch}-torch${minor}-${stamp.cuda ? 'cuda' : 'cpu'}`

export interface PackedFile {
  path: string
  size: number
}
export interface Packed {
  tarball: string
  bytes: number
  files: PackedFile[]
}

/** `npm pack` of this clone. */
export function pack(folder: string): Packed {
  const text = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    ...{ cwd: repository, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  })
  const [{ filename, size, files }] = JSON.parse(text) as [{ filename: string; size: number; files: PackedFile[] }]
  return { tarball: join(folder, filename), bytes: size, files }
}

/** `npm run pack:platform`; gives back the tarball. */
export function packPlatform(folder: string): string {
  return execFileSync(process.execPath, [join(repository, 'scripts', 'pack-platform.mjs'), folder], {
    encoding: 'utf8',
  }).trim()
}

interface LockEntry {
  dev?: boolean
  [key: string]: unknown
}

function lockFor(tarballs: Record<string, string>): object {
  const { packages } = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>
  }
  const kept = Object.entries(packages).filter(([path, { dev }]) => path.startsWith('node_modules/') && !dev)
  const { dependencies, engines, bin, peerDependencies, peerDependenciesMeta } = own
  const entry = { version, ...{ dependencies, engines, bin, peerDependencies, peerDependenciesMeta } }
  const installed = Object.entries(tarballs).map(([name, file]) => [
    `node_modules/${name}`,
    { ...(name === 'prudent' ? entry : { version }), resolved: `file:${file}` },
  ])
  return {
    ...{ name: 'elsewhere', version: '1.0.0', lockfileVersion: 3, requires: true },
    packages: {
      '': { name: 'elsewhere', version: '1.0.0', dependencies: filesOf(tarballs) },
      ...Object.fromEntries([...kept, ...installed]),
    },
  }
}

const filesOf = (tarballs: Record<string, string>) =>
  Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`]))

export interface Ran {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export class Project implements Disposable {
  /** The name holds a space, as users' paths do. */
  readonly folder = mkdtempSync(join(tmpdir(), 'prudent elsewhere '))
  readonly cache = join(this.folder, 'cache')
  readonly modules = join(this.folder, 'node_modules')
  readonly installed = join(this.modules, 'prudent')

  /** tarballs: name to file. */
  constructor(tarballs: Record<string, string>) {
    const here = Object.fromEntries(
      Object.entries(tarballs).map(([name, file]) => {
        cpSync(file, join(this.folder, basename(file)))
        return [name, basename(file)]
      }),
    )
    const manifest = { name: 'elsewhere', version: '1.0.0', private: true, dependencies: filesOf(here) }
    this.write('package.json', JSON.stringify(manifest))
    this.write('package-lock.json', JSON.stringify(lockFor(here)))
    this.npm(['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'])
  }

  npm(args: string[]): void {
    const { status, stdout, stderr } = spawnSync('npm', args, { cwd: this.folder, encoding: 'utf8' })
    if (status !== 0) throw new Error(`npm ${args.join(' ')}: ${stdout}${stderr}`)
  }

  /** Puts libtorch where `npx prudent setup` would have put it. */
  layLibtorch(): void {
    const folder = join(this.cache, `libtorch-${stamp.version.split('+')[0]}-${stamp.cuda ? 'cuda' : 'cpu'}`)
    if (existsSync(folder)) return
    mkdirSync(folder, { recursive: true })
    symlinkSync(stamp.folder, join(folder, 'torch'))
  }

  write(name: string, text: string): string {
    const file = join(this.folder, name)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, text)
    return file
  }

  /** Caches are the project's own. */
  environment(extra: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
    const { PATH, HOME, TMPDIR } = process.env
    return { PATH, HOME, TMPDIR, PRUDENT_CACHE: this.cache, PRUDENT_OFFLINE: '1', ...extra }
  }

  /** Runs a file of the project by `node` (default: this one). */
  node(args: string[], extra: Record<string, string | undefined> = {}, node = process.execPath): Ran {
    const { status, signal, stdout, stderr } = spawnSync(node, args, {
      ...{ cwd: this.folder, encoding: 'utf8', env: this.environment(extra) },
    })
    return { status, signal, stdout, stderr }
  }

  /** `npx prudent …`. */
  prudent(args: string[], extra: Record<string, string | undefined> = {}): Ran {
    return this.node([join(this.modules, '.bin', 'prudent'), ...args], extra)
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
