import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

function read(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

/** Names of the doctest cases of a source. */
function testCases(source: string): string[] {
  return [...source.matchAll(/TEST_CASE\("([^"]*)"\)/g)].map((match) => match[1] ?? '')
}

/** Operations that are others put together say so in their contract, "// Made of: a, b." */
function partsOf(contract: string): string[] {
  const list = /^\/\/ Made of: ([\w, ]+)\.$/m.exec(contract)?.[1]
  return list === undefined ? [] : list.split(',').map((name) => name.trim())
}

/** What operation `op` lacks, one sentence each. */
function gapsOf(op: string, folder: string, tests: string): string[] {
  const file = (suffix: string) => join(folder, op, `${op}${suffix}`)
  const contract = read(file('.h'))
  const parts = partsOf(contract)
  const cases = testCases(read(join(tests, `${op}_test.cpp`))).filter((name) => name.startsWith(`${op}: `))
  const hasKernel = /^void \w+_cuda\(/m.test(read(file('_cuda.cu')))
  const onGpu = testCases(read(join(tests, 'cuda_test.cpp')))
  const checks: [boolean, string][] = [
    [contract !== '', `no contract (${op}.h)`],
    [contract.includes(`${op}_reference(`), `${op}.h declares no ${op}_reference`],
    [existsSync(file('.cpp')), `no host side (${op}.cpp)`],
    [read(file('_reference.cpp')).includes(`${op}_reference(`), `no reference (${op}_reference.cpp)`],
    [
      ['_cpu.cpp', '_amx.cpp'].some((suffix) => read(file(suffix)).includes('PRUDENT_ISA')) || parts.length > 0,
      `no CPU version (${op}_cpu.cpp or ${op}_amx.cpp in namespace PRUDENT_ISA), and its contract does not say what it is made of`,
    ],
    [
      parts.every((part) => existsSync(join(folder, part, `${part}.h`))),
      `made of operations that are not there (${parts.join(', ')})`,
    ],
    [
      hasKernel || /^\/\/ On CUDA: \S/m.test(contract),
      `no CUDA version (${op}_cuda.cu that defines a …_cuda()), and its contract names none of libtorch's ("// On CUDA: …")`,
    ],
    [
      !hasKernel || onGpu.some((name) => name.startsWith(`cuda: ${op} parity`)),
      `no parity case on CUDA (cuda_test.cpp)`,
    ],
    [cases.some((name) => /\bparity\b/.test(name)), `no parity case (TEST_CASE("${op}: parity …") in ${op}_test.cpp)`],
    [
      cases.some((name) => /\bgradient\b/.test(name)) || /^\/\/ No gradient: \S/m.test(contract),
      `no gradient case (TEST_CASE("${op}: gradient …")), and its contract gives no reason ("// No gradient: …")`,
    ],
  ]
  return checks.filter(([present]) => !present).map(([, gap]) => `${op}: ${gap}`)
}

/** Walks the operations below `kernels` (every folder but common) and their tests; one sentence for each missing piece. */
export function findGaps(kernels: string, tests: string): string[] {
  const ops = readdirSync(kernels, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'common')
    .map((entry) => entry.name)
    .sort()
  return ops.flatMap((op) => gapsOf(op, kernels, tests))
}
