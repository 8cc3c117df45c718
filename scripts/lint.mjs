// All checks of text: formatting (biome, clang-format), types, documentation of the public names, the arrow of imports, house rules. `--fix` formats.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { checkImports } from './lint/imports.mjs'
import { checkPackage } from './lint/package.mjs'
import { checkTexts } from './lint/texts.mjs'
import { root } from './setup/folders.mjs'
import { filesBelow } from './setup/stamps.mjs'
import { findOnPath } from './setup/tools.mjs'
import { endStep } from './testing/totals.mjs'

const fix = process.argv.includes('--fix')
let passed = 0
const skipped = []
const failures = []

function conclude(name, problems) {
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  process.stdout.write(`lint: ${name}: ${problems.length === 0 ? 'ok' : 'FAILED'}\n`)
  if (problems.length === 0) passed += 1
  else failures.push(`lint: ${name}`)
}

function runTool(name, command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  conclude(name, status === 0 ? [] : [`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trimEnd()])
}

const biome = join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome')
runTool('biome', process.execPath, [
  biome,
  'check',
  '--max-diagnostics=50',
  '--diagnostic-level=error',
  ...(fix ? ['--write'] : []),
])

const clangFormat = findOnPath('clang-format')
if (clangFormat) {
  const files = ['native', 'bench'].flatMap((folder) =>
    filesBelow(join(root, folder), (file) => /\.(cpp|h|cu|cuh)$/.test(file)),
  )
  runTool('clang-format', clangFormat, fix ? ['-i', ...files] : ['--dry-run', '-Werror', ...files])
} else {
  skipped.push('clang-format check')
  process.stdout.write('lint: clang-format SKIPPED: it is missing (Debian package: clang-format)\n')
}

runTool('types', process.execPath, [
  join(root, 'node_modules', 'typescript-native', 'bin', 'tsc'),
  '-p',
  root,
  '--noEmit',
  '--incremental',
  'false',
])
// Every public name is described, and links lead somewhere; the pages themselves are `npm run docs`.
runTool('api docs', process.execPath, [join(root, 'node_modules', 'typedoc', 'bin', 'typedoc'), '--emit', 'none'])
conclude('imports', checkImports(root))
const { problems, warnings } = checkTexts(root)
for (const warning of warnings) process.stdout.write(`warning: ${warning}\n`)
conclude('texts', problems)

const packageProblems = await checkPackage(root)
if (packageProblems) conclude('package', packageProblems)
else {
  skipped.push('package check')
  process.stdout.write('lint: package check SKIPPED: nothing is built (npm run build)\n')
}

endStep({ passed, failed: failures.length, skipped, failures })
