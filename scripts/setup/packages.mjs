// npm dependencies, exactly those of the lock file.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runOrFail } from './command.mjs'
import { toolEnvironment } from './folders.mjs'
import { SetupError, say } from './report.mjs'
import { readJson } from './stamps.mjs'
import { findNpm } from './tools.mjs'

/**
 * Why node_modules must be installed anew, or undefined when it matches the lock file. npm writes node_modules/.package-lock.json
 * last, so an interrupted installation has none.
 */
export function staleReason(root) {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages
  if (!wanted)
    throw new SetupError('E_CORRUPT_FILE', `package-lock.json: expected npm's lock file with packages, in ${root}`)
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages
  if (!installed)
    return existsSync(join(root, 'node_modules')) ? 'node_modules is incomplete' : 'node_modules is missing'
  for (const [path, { version, integrity, optional, link }] of Object.entries(wanted)) {
    if (path === '' || link || !path.startsWith('node_modules/')) continue
    const have = installed[path]
    if (!have && optional) continue
    if (!have) return `${path} is missing`
    if (have.version !== version || have.integrity !== integrity)
      return `${path} is ${have.version}, the lock file says ${version}`
    if (!existsSync(join(root, path))) return `${path} was removed`
  }
  return undefined
}

export async function installPackages(root) {
  const reason = staleReason(root)
  if (reason === undefined) return
  const npm = findNpm()
  if (!npm) throw new SetupError('E_TOOL', 'missing: npm (Debian package: npm)')
  say(`installing npm packages (${reason})`)
  const [command, ...args] = [
    ...npm,
    'ci',
    '--include=dev',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]
  // npm says what is wrong first and explains its options at length afterwards.
  const options = { cwd: root, env: toolEnvironment(), log: join(root, 'build', 'logs', 'npm.log'), show: 'start' }
  await runOrFail('npm ci', command, args, options)
  const still = staleReason(root)
  if (still !== undefined) throw new SetupError('E_BUILD', `npm ci ended well, yet ${still}`)
}
