import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const kernels = readdirSync(join(root, 'native', 'kernels'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'common')
  .map((entry) => entry.name)

interface Cases {
  full: { op: string; dtypes: string[]; passes: string[] }[]
  quick: Cases['full']
}
const cases: Cases = JSON.parse(readFileSync(join(root, 'bench', 'ops', 'cases.json'), 'utf8'))
const native = readFileSync(join(root, 'bench', 'ops', 'op_case.cpp'), 'utf8')
const python = readFileSync(join(root, 'bench', 'peers', 'jobs', 'op_functions.py'), 'utf8')

/** What the bench of an operation lacks, one sentence each. */
function benchGaps(op: string): string[] {
  const has = (list: Cases['full']) =>
    list.some((entry) => entry.op === op && entry.dtypes.length > 0 && entry.passes.length > 0)
  const checks: [boolean, string][] = [
    [has(cases.full), 'no case in bench/ops/cases.json (full)'],
    [has(cases.quick), 'no case in bench/ops/cases.json (quick)'],
    [native.includes(`{"${op}", ${op}_case}`), `no ${op}_case in bench/ops/op_case.cpp`],
    [python.includes(`def ${op}(case, dtype, normal):`), `no peer in bench/peers/jobs/op_functions.py`],
  ]
  return checks.filter(([present]) => !present).map(([, gap]) => `${op}: ${gap}`)
}

it('every operation has a bench, native and in Python', () => {
  expect(kernels.length).toBeGreaterThan(10)
  expect(kernels.flatMap(benchGaps)).toEqual([])
})

it('an operation without one is missed', () => {
  expect(benchGaps('soft_cap')).toHaveLength(4)
})
