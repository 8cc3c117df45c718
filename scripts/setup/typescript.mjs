// Compiles ts/, test/ and examples/ into dist/, and removes what sources that are gone have left there.
import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from './command.mjs'
import { SetupError, say } from './report.mjs'
import { filesBelow, fingerprint, readJson, writeJson } from './stamps.mjs'

const ROOMS = ['ts', 'test', 'examples']

function sources(root) {
  return ROOMS.flatMap((room) => filesBelow(join(root, room), (file) => file.endsWith('.ts')))
}

const outputOf = (root, source) => join(root, 'dist', relative(root, source).replace(/\.ts$/, '.js'))

/** A compiled test whose source was deleted would go on running. */
function sweep(root) {
  for (const file of ROOMS.flatMap((room) => filesBelow(join(root, 'dist', room)))) {
    const source = join(root, relative(join(root, 'dist'), file).replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts'))
    if (source.endsWith('.ts') && !existsSync(source)) rmSync(file, { force: true })
  }
}

/** Type errors are a failure, but the output is there all the same (for work on one part while another is broken). */
export async function compileTypeScript(root) {
  const files = sources(root)
  const stampFile = join(root, 'build', 'stamps', 'typescript.json')
  const version = readJson(join(root, 'node_modules', 'typescript-native', 'package.json'))?.version
  const print = fingerprint([...files, join(root, 'tsconfig.json')], { version })
  const stands = files.every((file) => existsSync(outputOf(root, file)))
  if (stands && readJson(stampFile)?.print === print) return
  say(`compiling TypeScript (${files.length} files)`)
  // Its incremental state knows sources, not outputs: after outputs were removed it would emit nothing.
  if (!stands) rmSync(join(root, 'dist', '.tsbuildinfo'), { force: true })
  const tsc = join(root, 'node_modules', 'typescript-native', 'bin', 'tsc')
  const { status, output } = await run(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], {
    cwd: root,
    log: join(root, 'build', 'logs', 'tsc.log'),
  })
  sweep(root)
  if (status !== 0) throw new SetupError('E_BUILD', `TypeScript found errors\n${output.trim()}`)
  writeJson(stampFile, { print })
}
