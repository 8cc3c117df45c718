// The peers' Python environments: installed once into the cache, found there afterwards, and named aloud where they cannot be had.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from '../setup/command.mjs'
import { cacheFolder, root, toolEnvironment } from '../setup/folders.mjs'
import { withLock } from '../setup/lock.mjs'
import { findPython } from '../setup/tools.mjs'

/** Which interpreter to use instead of an installed one. */
const VARIABLES = { today: 'PRUDENT_PEERS_PYTHON', classic: 'PRUDENT_PEERS_CLASSIC_PYTHON' }
const PIP = ['-m', 'pip', 'install', '--quiet', '--no-input', '--disable-pip-version-check']

function say(line) {
  process.stderr.write(`bench: ${line}\n`)
}

function requirementsOf(name) {
  return join(root, 'bench', 'peers', `requirements-${name}.txt`)
}

/** A virtual environment, or where Python lacks the parts for one (Debian: python3-venv) a folder that PYTHONPATH names. */
async function install(python, folder, name) {
  const requirements = requirementsOf(name)
  const env = { ...toolEnvironment(), TMPDIR: join(folder, 'tmp') }
  mkdirSync(env.TMPDIR, { recursive: true })
  const options = (part) => ({ env, log: join(root, 'build', 'logs', `peers-${name}-${part}.log`) })
  const venv = await run(python, ['-m', 'venv', join(folder, 'venv')], options('venv'))
  const [command, target] =
    venv.status === 0
      ? [join(folder, 'venv', 'bin', 'python'), []]
      : [python, ['--no-compile', '--target', join(folder, 'packages')]]
  const { status, output } = await run(command, [...PIP, ...target, '-r', requirements], options('pip'))
  rmSync(env.TMPDIR, { recursive: true, force: true })
  if (status !== 0) return output.trim().split('\n').slice(-3).join('\n')
  const frozen = await run(command, ['-m', 'pip', 'freeze', ...(target.length > 0 ? ['--path', target.at(-1)] : [])])
  writeFileSync(
    join(folder, 'complete.json'),
    JSON.stringify({ venv: target.length === 0, packages: frozen.output.split('\n') }),
  )
  return undefined
}

/** @returns {{ python: string, env: Record<string, string> } | undefined} */
function installed(folder, python) {
  const file = join(folder, 'complete.json')
  if (!existsSync(file)) return undefined
  if (JSON.parse(readFileSync(file, 'utf8')).venv) return { python: join(folder, 'venv', 'bin', 'python'), env: {} }
  return { python, env: { PYTHONPATH: join(folder, 'packages') } }
}

/**
 * @param {'today' | 'classic'} name
 * @returns {Promise<{ python: string, env: Record<string, string> } | { missing: string }>}
 */
export async function findPeer(name, { mayInstall = true } = {}) {
  const given = process.env[VARIABLES[name]]
  if (given) return { python: given, env: {} }
  const python = findPython()
  if (!python) return { missing: 'Python 3 is not installed (Debian package: python3)' }
  const version = (await run(python, ['-c', 'import sys; print(sys.version_info[:2], sys.prefix)'])).output.trim()
  const print = createHash('sha256')
    .update(readFileSync(requirementsOf(name)))
    .update(version)
    .digest('hex')
    .slice(0, 8)
  const folder = join(cacheFolder(), `peers-${name}-${print}`)
  const found = installed(folder, python)
  if (found) return found
  if (!mayInstall) return { missing: `no environment in ${folder}; npm run bench makes it` }
  return withLock(join(cacheFolder(), 'peers.lock'), 'an installation of the peers', async () => {
    if (installed(folder, python)) return installed(folder, python)
    say(`installing the Python peers (${name}: bench/peers/requirements-${name}.txt, about 1.3 GB) into ${folder}`)
    rmSync(folder, { recursive: true, force: true })
    const problem = await install(python, folder, name)
    if (problem === undefined) return installed(folder, python)
    rmSync(folder, { recursive: true, force: true })
    return { missing: `pip could not install bench/peers/requirements-${name}.txt: ${problem}` }
  })
}

/**
 * The peer of today with what serves it over HTTP: a few packages in a folder of their own, so that the large environment stays as it is.
 * @param {{ python: string, env: Record<string, string> }} today
 */
export async function findServicePeer(today) {
  const requirements = requirementsOf('service')
  const print = createHash('sha256').update(readFileSync(requirements)).update(today.python).digest('hex').slice(0, 8)
  const folder = join(cacheFolder(), `peers-service-${print}`)
  const env = { ...today.env, PYTHONPATH: [folder, today.env.PYTHONPATH].filter(Boolean).join(delimiter) }
  if ((await run(today.python, ['-c', 'import fastapi, uvicorn'], { env: today.env })).status === 0) return today
  if (existsSync(join(folder, 'complete'))) return { python: today.python, env }
  return withLock(join(cacheFolder(), 'peers.lock'), 'an installation of the peers', async () => {
    rmSync(folder, { recursive: true, force: true })
    const { status, output } = await run(today.python, [...PIP, '--target', folder, '-r', requirements], {
      env: toolEnvironment(),
      log: join(root, 'build', 'logs', 'peers-service.log'),
    })
    if (status !== 0)
      return {
        missing: `pip could not install bench/peers/requirements-service.txt: ${output.trim().split('\n').at(-1)}`,
      }
    writeFileSync(join(folder, 'complete'), '')
    return { python: today.python, env }
  })
}
