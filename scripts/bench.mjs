// npm run bench [-- WORD …]: runs the benches (bench/**/*.mjs) whose path holds one of the words; --list names them.
// bench/support holds what they share and bench/peers the Python that runs beside them; neither is a bench.
import { join, relative } from 'node:path'
import { $ } from 'zx'
import { root } from './setup/folders.mjs'
import { filesBelow } from './setup/stamps.mjs'

const run = $({ stdio: 'inherit', cwd: root, nothrow: true })
const words = process.argv.slice(2).filter((word) => word !== '--list')
const benches = filesBelow(join(root, 'bench'), (file) => file.endsWith('.mjs'))
  .map((file) => relative(root, file))
  .filter((file) => !/^bench\/(support|peers)\//.test(file))
const wanted = benches.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))

if (wanted.length === 0) {
  process.stderr.write(
    words.length === 0
      ? 'bench: bench/ holds no benches\n'
      : `bench: E_USAGE: nothing in bench/ matches ${words.join(' ')}\n`,
  )
  process.exitCode = words.length === 0 ? 0 : 2
} else if (process.argv.includes('--list')) {
  process.stdout.write(`${wanted.join('\n')}\n`)
} else {
  for (const bench of wanted) {
    process.stderr.write(`bench: ${bench}\n`)
    const { exitCode } = await run`${process.execPath} ${join(root, bench)}`
    if (exitCode !== 0) process.exitCode = 1
  }
}
