// Rules on the text of tracked files: unfinished work, machine paths, a lock file that names registries, length.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow } from '../setup/stamps.mjs'

const TEXT = /\.(ts|mjs|js|cjs|json|ya?ml|md|cpp|h|cu|cuh|cmake|py|gyp|txt|sh)$|(^|\/)(CMakeLists\.txt|run|\.npmrc)$/
const SOURCE = /^(ts|native|scripts|test|bench|bin|cmake)\/.*\.(ts|mjs|js|cpp|h|cu|cmake|py)$/
const LONGEST = 400
// Written in pieces so that this file does not report itself.
const UNFINISHED = new RegExp(['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X:'].map((word) => `\\b${word}\\b`).join('|'))
const MACHINE_PATH = new RegExp(`(^|[\\s'"\`(=:])/(${['home/\\w', 'Users/\\w', 'ro' + 'ot/', 'wo' + 'rk/'].join('|')})`)

function trackedFiles(root) {
  try {
    return execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\0')
      .filter((file) => file && existsSync(join(root, file)))
  } catch {
    const rooms = ['ts', 'native', 'scripts', 'test', 'bench', 'bin', 'cmake', 'docs', 'configs', '.ci']
    return rooms.flatMap((room) => filesBelow(join(root, room))).map((file) => file.slice(root.length + 1))
  }
}

/** The lock file names no registry, and every platform's optional packages: with some left out `npm ci` refuses all of it. */
function checkLockFile(lines) {
  const problems = []
  const at = lines.findIndex((line) => line.includes('"resolved": "http'))
  if (at >= 0)
    problems.push(`package-lock.json:${at + 1}: must not name a registry (.npmrc has omit-lockfile-registry-resolved)`)
  const { packages } = JSON.parse(lines.join('\n'))
  for (const [path, entry] of Object.entries(packages)) {
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      const listed = [`node_modules/${name}`, `${path}/node_modules/${name}`].some((place) => place in packages)
      if (!listed) problems.push(`package-lock.json: ${path} needs an entry for ${name}, of whatever platform`)
    }
  }
  return problems
}

export function checkTexts(root) {
  const problems = []
  const warnings = []
  for (const file of trackedFiles(root)) {
    if (!TEXT.test(file) || statSync(join(root, file)).size > 2_000_000) continue
    const lines = readFileSync(join(root, file), 'utf8').split('\n')
    if (file === 'package-lock.json') {
      problems.push(...checkLockFile(lines))
      continue
    }
    if (/^(test\/golden\/|test\/data\/files\/|examples\/|LICENSE)/.test(file)) continue
    lines.forEach((line, index) => {
      if (UNFINISHED.test(line)) problems.push(`${file}:${index + 1}: unfinished: ${line.trim()}`)
      if (MACHINE_PATH.test(line)) problems.push(`${file}:${index + 1}: a path of one machine: ${line.trim()}`)
    })
    if (SOURCE.test(file) && lines.length > LONGEST + 1)
      warnings.push(`${file}: ${lines.length - 1} lines; over ${LONGEST} it is time to divide it`)
  }
  return { problems, warnings }
}
