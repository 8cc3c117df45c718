// libtorch: environment variable, then the cache that clones share, then an importable Python torch, then pip.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { run } from './command.mjs'
import { findNvcc, hasNvidiaDriver } from './cuda.mjs'
import { cacheFolder, toolEnvironment, workFolder } from './folders.mjs'
import { withLock } from './lock.mjs'
import { SetupError, say } from './report.mjs'
import { readJson, writeJson } from './stamps.mjs'
import { findOnPath, findPython, requirePip } from './tools.mjs'

const PINNED = '2.13.0'
const OLDEST_MINOR = 11
const NEWEST_MINOR = 13
const SUPPORTED = `2.${OLDEST_MINOR} to 2.${NEWEST_MINOR}`
const SMOKE_LOAD = 'import ctypes, sys; ctypes.CDLL(sys.argv[1])'

/**
 * @typedef {{ folder: string, version: string, variant: string, cuda: boolean, library: string }} Libtorch
 * `folder` holds include/ and lib/; `variant` is cpu, cu130, …; `library` identifies the very file that was built against.
 */

/** What a folder holds, or why it cannot be used. */
export function inspect(given) {
  const folder = ['', 'torch', 'libtorch']
    .map((part) => join(resolve(given), part))
    .find((path) => existsSync(join(path, 'include', 'ATen', 'ATen.h')))
  if (!folder) return { problem: `no include/ATen in ${given}` }
  const core = join(folder, 'lib', 'libtorch_cpu.so')
  if (!existsSync(core)) return { problem: `no lib/libtorch_cpu.so in ${folder}` }
  const version = readVersion(folder)
  if (!version) return { problem: `cannot read the version of ${folder}` }
  const [major, minor] = version.split('.').map(Number)
  if (major !== 2 || minor < OLDEST_MINOR || minor > NEWEST_MINOR)
    return { problem: `${folder} is libtorch ${version}, supported is ${SUPPORTED}` }
  const cuda = existsSync(join(folder, 'lib', 'libtorch_cuda.so'))
  const { size, mtimeMs } = statSync(core)
  const variant = version.split('+')[1] ?? (cuda ? 'cuda' : 'cpu')
  return { libtorch: { folder, version, variant, cuda, library: `${size}:${Math.round(mtimeMs)}` } }
}

function readVersion(folder) {
  for (const [file, pattern] of [
    ['version.py', /^__version__ = '([^']+)'/m],
    ['build-version', /^(\d\S+)/],
  ]) {
    const path = existsSync(join(folder, file)) ? join(folder, file) : undefined
    const found = path && pattern.exec(readFileSync(path, 'utf8'))?.[1]
    if (found) return found
  }
  const header = ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h']
    .map((file) => join(folder, 'include', file))
    .find(existsSync)
  const text = header ? readFileSync(header, 'utf8') : ''
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`TORCH_VERSION_${part} (\\d+)`).exec(text)?.[1])
  return parts.every((part) => part !== undefined) ? parts.join('.') : undefined
}

function fromEnvironment() {
  const given = process.env.PRUDENT_LIBTORCH
  if (!given) return undefined
  const { libtorch, problem } = inspect(given)
  if (!libtorch)
    throw new SetupError(
      'E_LIBTORCH',
      `PRUDENT_LIBTORCH: expected a folder with include/ and lib/ of libtorch ${SUPPORTED}, received: ${problem}`,
    )
  return libtorch
}

/** The newest usable one in the cache; one with CUDA is preferred where CUDA code can be built and run. */
function fromCache(cache) {
  if (!existsSync(cache)) return undefined
  const wantsCuda = hasNvidiaDriver() && findNvcc() !== undefined
  const found = readdirSync(cache)
    .filter((name) => /^libtorch-[^.]+\.[^.]+\.[^.]+$/.test(name))
    .map((name) => inspect(join(cache, name)).libtorch)
    .filter((libtorch) => libtorch !== undefined)
  const rank = (libtorch) => Number(libtorch.version.split('.')[1]) + (libtorch.cuda === wantsCuda ? 1000 : 0)
  return found.sort((a, b) => rank(b) - rank(a))[0]
}

async function fromPython() {
  const python = findPython()
  if (!python) return undefined
  const script =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s and s.submodule_search_locations else "")'
  const { status, output } = await run(python, ['-c', script])
  const folder = status === 0 ? output.trim().split('\n').at(-1) : ''
  if (!folder) return undefined
  const { libtorch, problem } = inspect(folder)
  if (!libtorch) {
    say(`the torch of ${python} is of no use: ${problem}`)
    return undefined
  }
  const loaded = await smokeLoad(python, libtorch)
  if (loaded !== undefined) say(`the torch of ${python} does not load: ${loaded}`)
  return loaded === undefined ? libtorch : undefined
}

/** Loads the library in a process of its own; what went wrong, or undefined. */
async function smokeLoad(python, { folder }) {
  const { status, output } = await run(python, ['-c', SMOKE_LOAD, join(folder, 'lib', 'libtorch_cpu.so')])
  return status === 0 ? undefined : output.trim().split('\n').at(-1)
}

async function pipInstall(python, target, requirement, extra = []) {
  rmSync(target, { recursive: true, force: true })
  const scratch = `${target}.tmp`
  mkdirSync(scratch, { recursive: true })
  const options = [
    '--target',
    target,
    '--no-compile',
    '--only-binary',
    ':all:',
    '--no-input',
    '--disable-pip-version-check',
    '--quiet',
    ...extra,
  ]
  // pip unpacks in TMPDIR and moves from there: beside the target, since /tmp may be too small for a gigabyte.
  const env = { ...toolEnvironment(), TMPDIR: scratch }
  try {
    return await run(python, ['-m', 'pip', 'install', ...options, requirement], {
      env,
      log: join(workFolder(), 'logs', 'pip.log'),
    })
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Fills `target` with a wheel. Without a GPU the CPU build is tried first: it is a fifth of the size. */
async function downloadWheel(python, target) {
  const cudaWanted = hasNvidiaDriver() && findNvcc() !== undefined
  if (!cudaWanted) {
    say(`installing torch==${PINNED}+cpu with pip into the cache (about 200 MB to download, 0.8 GB on disk)`)
    if ((await pipInstall(python, target, `torch==${PINNED}+cpu`, ['--no-deps'])).status === 0) return
    say(`pip knows no torch==${PINNED}+cpu; PyTorch's CPU index becomes known to it with`)
    say('  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu')
    say(`installing torch==${PINNED} instead (a CUDA build weighs about 3 GB with its dependencies)`)
  } else {
    say(`installing torch==${PINNED} for CUDA with pip into the cache (about 3 GB with its dependencies)`)
  }
  let result = await pipInstall(python, target, `torch==${PINNED}`, ['--no-deps'])
  // A CUDA build links libraries that come in packages of their own.
  if (result.status === 0 && inspect(target).libtorch?.cuda)
    result = await pipInstall(python, target, `torch==${PINNED}`)
  if (result.status === 0) return
  const end = result.output.trim().split('\n').slice(-5).join('\n')
  throw new SetupError(
    'E_LIBTORCH',
    `pip could not install torch==${PINNED}; set PRUDENT_LIBTORCH to a torch folder, or give pip an index that has it\n${end}`,
  )
}

/** Removes what killed installations have left in the cache. */
function sweepPartials(cache) {
  for (const name of readdirSync(cache)) {
    if (name.startsWith('partial-')) rmSync(join(cache, name), { recursive: true, force: true })
  }
}

async function flush(folder) {
  const sync = findOnPath('sync')
  if (sync) await run(sync, ['-f', folder])
}

async function fromPip(cache) {
  const python = await requirePip()
  mkdirSync(cache, { recursive: true })
  return withLock(join(cache, 'install.lock'), 'an installation of libtorch', async () => {
    const made = fromCache(cache)
    if (made) return made
    sweepPartials(cache)
    const target = join(cache, `partial-${process.pid}`)
    await downloadWheel(python, target)
    const { libtorch, problem } = inspect(target)
    const failure = libtorch ? await smokeLoad(python, libtorch) : problem
    if (failure !== undefined)
      throw new SetupError('E_LIBTORCH', `the torch that pip installed cannot be used: ${failure}`)
    await flush(target)
    const final = join(cache, `libtorch-${libtorch.version.split('+')[0]}-${libtorch.variant}`)
    rmSync(final, { recursive: true, force: true })
    renameSync(target, final)
    return inspect(final).libtorch
  })
}

/** The one that was used last time, if it still is what it was and no variable asks for another. */
function fromStamp(stampFile) {
  const stamp = readJson(stampFile)
  if (!stamp || stamp.source === 'PRUDENT_LIBTORCH' || process.env.PRUDENT_LIBTORCH) return undefined
  const { libtorch } = inspect(stamp.libtorch.folder)
  return libtorch?.version === stamp.libtorch.version ? libtorch : undefined
}

/** @returns {Promise<Libtorch>} */
export async function resolveLibtorch() {
  const stampFile = join(workFolder(), 'stamps', 'libtorch.json')
  const known = fromStamp(stampFile)
  if (known) return known
  const cache = cacheFolder()
  const sources = [
    ['PRUDENT_LIBTORCH', fromEnvironment],
    ['cache', () => fromCache(cache)],
    ['Python', fromPython],
    ['pip', () => fromPip(cache)],
  ]
  for (const [source, resolveFrom] of sources) {
    const libtorch = await resolveFrom()
    if (!libtorch) continue
    if (readJson(stampFile)?.libtorch.folder !== libtorch.folder)
      say(`libtorch ${libtorch.version} from ${source}: ${libtorch.folder}`)
    writeJson(stampFile, { source, libtorch })
    return libtorch
  }
  throw new SetupError('E_LIBTORCH', `no libtorch ${SUPPORTED} in ${basename(cache)}`)
}
