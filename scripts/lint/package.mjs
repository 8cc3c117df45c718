// The package as npm would publish it: publint reads what its manifest promises, are-the-types-wrong how TypeScript resolves it.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage as checkTypes, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { findNpm } from '../setup/tools.mjs'

/**
 * There is one build, of ES modules, which require() of Node 20.19 and later loads: CommonJS importers are meant to get it. The old
 * `node10` resolution knows no `exports` at all and finds the first entry point alone.
 */
const MEANT = (problem) => problem.kind === 'CJSResolvesToESM' || problem.resolutionKind === 'node10'

function pack(root) {
  const folder = mkdtempSync(join(tmpdir(), 'prudent-lint-'))
  try {
    const [command, ...args] = findNpm()
    const options = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
    const [{ filename }] = JSON.parse(
      execFileSync(command, [...args, ...options], {
        cwd: root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    )
    const { buffer, byteOffset, byteLength } = readFileSync(join(folder, filename))
    return buffer.slice(byteOffset, byteOffset + byteLength)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function askPublint(tarball) {
  const { messages, pkg } = await publint({ level: 'suggestion', strict: true, pack: { tarball } })
  return messages.map(
    (message) => `package.json: ${formatMessage(message, pkg, { color: false })} (publint ${message.code})`,
  )
}

async function askTypes(tarball) {
  const { types, problems = [] } = await checkTypes(createPackageFromTarballData(new Uint8Array(tarball)))
  if (!types) return ['package.json: no types were found in the package']
  return problems
    .filter((problem) => !MEANT(problem))
    .map(
      ({ kind, entrypoint, resolutionKind }) =>
        `package.json: ${kind}: ${entrypoint ?? ''} as ${resolutionKind ?? 'any'} (attw)`,
    )
}

/** undefined where nothing has been built yet. */
export async function checkPackage(root) {
  if (!existsSync(join(root, 'dist', 'ts', 'index.js'))) return undefined
  const tarball = pack(root)
  return [...(await askPublint(tarball)), ...(await askTypes(tarball))]
}
