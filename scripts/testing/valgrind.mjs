// The addon's life cycle under valgrind's memcheck: invalid reads and writes, undefined values that decide something, memory that nothing
// points to any more. Its CPU has AVX2, but neither AVX-512 nor AMX: kernels and libtorch take their AVX2 versions by themselves, and the
// others are the sanitizers' business.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../setup/folders.mjs'
import { SetupError } from '../setup/report.mjs'
import { findOnPath } from '../setup/tools.mjs'
import { mustFind } from './instrumented.mjs'

const FAULTY = 9
const OVERRUN = 'int main() { volatile int* p = new int[1]; return p[1] == 12345; }\n'
const LOST = 'int main() { int* volatile p = new int[1000]; p = nullptr; return 0; }\n'

function memcheck() {
  const valgrind = findOnPath('valgrind')
  if (!valgrind) throw new SetupError('E_TOOL', 'missing: valgrind (Debian package: valgrind)')
  return [
    valgrind,
    '--quiet',
    `--error-exitcode=${FAULTY}`,
    '--num-callers=40',
    '--leak-check=full',
    '--show-leak-kinds=definite',
    '--errors-for-leak-kinds=definite',
    `--suppressions=${join(root, 'native', 'tests', 'suppressions', 'valgrind.supp')}`,
  ]
}

/** @returns whether nothing was found */
export async function lifeCycleIsClean() {
  const command = memcheck()
  await mustFind('overrun', OVERRUN, { command, report: 'Invalid read of size 4' })
  await mustFind('lost', LOST, { command, report: 'definitely lost' })
  const child = join(root, 'dist', 'test', 'addon', 'life-cycle-child.js')
  const [valgrind, ...args] = command
  const { status } = spawnSync(valgrind, [...args, process.execPath, '--expose-gc', child], {
    cwd: root,
    stdio: 'inherit',
  })
  return status === 0
}
