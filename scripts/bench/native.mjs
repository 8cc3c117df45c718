// Builds prudent_bench, the executable that times kernels and matrix products, in the build folder of the addon.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runOrFail } from '../setup/command.mjs'
import { root } from '../setup/folders.mjs'
import { buildJobs } from '../setup/native.mjs'
import { findBuildTools } from '../setup/tools.mjs'

const OUT = join(root, 'build', 'cmake')
const LOG = join(root, 'build', 'logs', 'bench-build.log')

/** @returns {Promise<string>} the executable */
export async function buildNativeBench() {
  if (!existsSync(join(OUT, 'CMakeCache.txt'))) throw new Error('not set up yet: run npm run build')
  const { cmake } = findBuildTools()
  const env = { CCACHE_SLOPPINESS: 'pch_defines,time_macros' }
  await runOrFail('configuring the native bench', cmake, ['-DPRUDENT_BENCH=ON', OUT], { log: LOG, env })
  const build = ['--build', OUT, '--target', 'prudent_bench', '--parallel', String(buildJobs())]
  await runOrFail('building the native bench', cmake, build, { log: LOG, env })
  return join(OUT, 'bench', 'prudent_bench')
}
