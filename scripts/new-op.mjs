// npm run new:op NAME: the files of a new operation in native/kernels/NAME and its tests, which fail until it is written.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { root } from './setup/folders.mjs'

const templates = join(root, 'scripts', 'new-op')

function usage(message) {
  process.stderr.write(
    `new-op: E_USAGE: ${message}\nusage: npm run new:op NAME   (NAME in lower case with underscores, as in rms_norm)\n`,
  )
  process.exit(2)
}

function targetOf(template, op) {
  const name = template.replace(/^op/, op).replace(/\.template$/, '')
  return name.endsWith('_test.cpp')
    ? join(root, 'native', 'tests', 'kernels', name)
    : join(root, 'native', 'kernels', op, name)
}

const op = process.argv[2]
if (!op || !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(op))
  usage(`expected a name like rms_norm, received ${op ?? 'nothing'}`)
if (existsSync(join(root, 'native', 'kernels', op))) usage(`native/kernels/${op} exists already`)

const camel = op.replace(/(^|_)([a-z0-9])/g, (_, _underscore, letter) => letter.toUpperCase())
for (const template of readdirSync(templates).sort()) {
  const target = targetOf(template, op)
  mkdirSync(dirname(target), { recursive: true })
  const text = readFileSync(join(templates, template), 'utf8').replaceAll('{{op}}', op).replaceAll('{{Op}}', camel)
  writeFileSync(target, text, { flag: 'wx' })
  process.stdout.write(`${relative(root, target)}\n`)
}
process.stdout.write(`
next: 1. the formula, shapes and dtypes in ${op}.h
      2. ${op}_reference.cpp in plain ATen
      3. ${op}_cpu.cpp (native/kernels/common/vec.h has the vectors)
      4. ${op}_cuda.cu (native/kernels/common/cuda_support.cuh), and a case "cuda: ${op} parity …" in native/tests/kernels/cuda_test.cpp
      5. npm run dev -- ${op}   builds this and runs its cases
`)
