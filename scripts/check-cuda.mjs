// Compiles every CUDA source to an object, without a GPU: *_cuda.cu with nvcc for sm_86 and sm_90 (device code sees
// cuda_runtime only), *_cuda_host.cpp with the C++ compiler against whatever libtorch is there, a CPU wheel too.
// Incremental: an object is made again when its source, a header that it includes or the compiler changed.
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { run } from './setup/command.mjs'
import { findNvccThorough } from './setup/cuda.mjs'
import { root } from './setup/folders.mjs'
import { resolveLibtorch } from './setup/libtorch.mjs'
import { buildJobs } from './setup/native.mjs'
import { filesBelow, readJson, writeJson } from './setup/stamps.mjs'
import { findBuildTools, toolIdentity } from './setup/tools.mjs'
import { emptyTotals, endStep } from './testing/totals.mjs'

const ARCHITECTURES = ['sm_86', 'sm_90']
const out = join(root, 'build', 'cuda')
const native = join(root, 'native')

/** Folder with cuda_runtime.h that belongs to this nvcc. */
async function toolkitInclude(nvcc) {
  const { output } = await run(nvcc, ['--dryrun', '-x', 'cu', '-c', '/dev/null'])
  const listed = [...output.matchAll(/"?-I([^"\s]+)"?/g)].map(([, folder]) => folder)
  const beside = [join(dirname(dirname(nvcc)), 'include'), '/usr/local/cuda/include', '/usr/include']
  return [...listed, ...beside].find((folder) => existsSync(join(folder, 'cuda_runtime.h')))
}

/** The layers' headers are included as kernels/…, core/…: native/ itself is the folder. */
function tasks(nvcc, compiler, libtorch, cudaInclude) {
  const devices = filesBelow(native, (file) => file.endsWith('_cuda.cu')).flatMap((source) =>
    ARCHITECTURES.map((architecture) => ({
      name: `${relative(root, source)} ${architecture}`,
      source,
      command: nvcc,
      object: join(out, `${relative(native, source)}.${architecture}.o`),
      args: ['-c', '-std=c++17', '-O2', `-arch=${architecture}`, '--expt-relaxed-constexpr', `-I${native}`],
    })),
  )
  const torchIncludes = ['include', 'include/torch/csrc/api/include'].map(
    (folder) => `-isystem${join(libtorch.folder, folder)}`,
  )
  const hosts = filesBelow(native, (file) => file.endsWith('_cuda_host.cpp')).map((source) => ({
    name: relative(root, source),
    source,
    command: compiler,
    object: join(out, `${relative(native, source)}.o`),
    args: [
      '-c',
      '-std=c++20',
      '-O1',
      '-fPIC',
      '-fopenmp',
      '-Wall',
      '-Wextra',
      '-Wno-unused-parameter',
      '-DPRUDENT_CUDA=1',
      '-DC10_USING_CUSTOM_GENERATED_MACROS',
      `-I${native}`,
      ...torchIncludes,
      `-isystem${cudaInclude}`,
    ],
  }))
  return [...devices, ...hosts]
}

function isFresh({ object, command, args }) {
  const record = readJson(`${object}.json`)
  if (!record || !existsSync(object) || record.command !== toolIdentity(command) || record.args !== args.join(' '))
    return false
  const made = statSync(object).mtimeMs
  return record.inputs.every((file) => existsSync(file) && statSync(file).mtimeMs < made)
}

/** Files of a makefile rule, `object: a b \ c`, blanks in names escaped. */
function inputsOf(rule) {
  return rule
    .slice(rule.indexOf(': ') + 1)
    .replace(/\\\r?\n/g, ' ')
    .split(/(?<!\\)\s+/)
    .filter(Boolean)
    .map((file) => file.replaceAll('\\ ', ' '))
}

async function compile(task) {
  if (isFresh(task)) return { ok: true, fresh: true }
  mkdirSync(dirname(task.object), { recursive: true })
  const dependencies = `${task.object}.d`
  const { status, output } = await run(
    task.command,
    [...task.args, '-MD', '-MF', dependencies, '-o', task.object, task.source],
    { cwd: root },
  )
  if (status !== 0) return { ok: false, output }
  const inputs = inputsOf(readFileSync(dependencies, 'utf8')).filter((file) => file.startsWith(native))
  writeJson(`${task.object}.json`, { command: toolIdentity(task.command), args: task.args.join(' '), inputs })
  return { ok: true, fresh: false }
}

async function inParallel(items, workers, work) {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: workers }, worker))
}

const nvcc = await findNvccThorough()
if (!nvcc) {
  process.stdout.write(
    'CUDA compile check SKIPPED: there is no nvcc on PATH, in $CUDA_HOME or /usr/local/cuda, or from PyPI (nvidia-cuda-nvcc)\n',
  )
  endStep({ ...emptyTotals(), skipped: ['CUDA compile check'] })
} else {
  const totals = emptyTotals()
  const all = tasks(nvcc, findBuildTools().compiler, await resolveLibtorch(), await toolkitInclude(nvcc))
  let compiled = 0
  await inParallel(all, buildJobs(), async (task) => {
    const result = await compile(task)
    totals[result.ok ? 'passed' : 'failed'] += 1
    if (!result.fresh) compiled += 1
    if (result.ok) return
    totals.failures.push(`CUDA compile check: ${task.name}`)
    process.stdout.write(`${task.name}: FAILED\n${result.output}\n`)
  })
  process.stdout.write(
    `CUDA compile check (${nvcc}): ${all.length} objects, ${compiled} compiled now, ${totals.failed} failed\n`,
  )
  endStep(totals)
}
