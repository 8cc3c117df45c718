import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { findGaps } from './walk.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const kernels = join(root, 'native', 'kernels')
const tests = join(root, 'native', 'tests', 'kernels')

describe('native/kernels', () => {
  it('has every piece of every operation', () => {
    expect(readdirSync(kernels)).toEqual(expect.arrayContaining(['rms_norm', 'packed_attention', 'ppo_loss']))
    expect(findGaps(kernels, tests)).toEqual([])
  })
})

describe('the walk itself', () => {
  let copy: string
  const op = () => join(copy, 'kernels', 'sample')
  const testFile = () => join(copy, 'tests', 'sample_test.cpp')
  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'prudent-walk-'))
    cpSync(join(kernels, 'sample'), op(), { recursive: true })
    for (const name of ['sample_test.cpp', 'cuda_test.cpp']) cpSync(join(tests, name), join(copy, 'tests', name))
  })
  afterEach(() => rmSync(copy, { recursive: true, force: true }))
  const gaps = () => findGaps(join(copy, 'kernels'), join(copy, 'tests'))

  it('finds nothing in a whole operation', () => {
    expect(gaps()).toEqual([])
  })
  it.each([
    ['sample.h', 'contract'],
    ['sample.cpp', 'host side'],
    ['sample_reference.cpp', 'reference'],
    ['sample_cpu.cpp', 'CPU version'],
    ['sample_cuda.cu', 'CUDA version'],
  ])('misses %s', (name, piece) => {
    rmSync(join(op(), name))
    expect(gaps().join('\n')).toContain(`sample: no ${piece}`)
  })
  it('misses a parity case, also when it stands in a comment or belongs to another operation', () => {
    writeFileSync(testFile(), '// parity\nTEST_CASE("rotary: parity over odd shapes") {}\n')
    expect(gaps()).toEqual([expect.stringContaining('no parity case')])
  })
  it('misses a CUDA version that is empty, and one that no test runs', () => {
    writeFileSync(join(copy, 'tests', 'cuda_test.cpp'), '// cuda: sample parity\n')
    expect(gaps()).toEqual([expect.stringContaining('no parity case on CUDA')])
    writeFileSync(join(op(), 'sample_cuda.cu'), '// void sample_run_cuda(\n')
    expect(gaps()).toEqual([expect.stringContaining('no CUDA version')])
  })
  it('misses a gradient case unless the contract gives a reason', () => {
    writeFileSync(join(op(), 'sample.h'), 'at::Tensor sample_reference();\n')
    expect(gaps()).toEqual([expect.stringContaining('no gradient case')])
    writeFileSync(testFile(), 'TEST_CASE("sample: parity and gradient") {}\n')
    expect(gaps()).toEqual([])
  })
})
