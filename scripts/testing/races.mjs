// The executor under ThreadSanitizer, and how far. Its own code and its tests are instrumented; the layers below, libtorch and OpenMP are not.
// In kernels it would see none of the barriers of an OpenMP team, so every lane has one thread. No report is suppressed.
import { join } from 'node:path'
import { runOrFail } from '../setup/command.mjs'
import { root } from '../setup/folders.mjs'
import { buildJobs } from '../setup/native.mjs'
import { findBuildTools } from '../setup/tools.mjs'
import { mustFind } from './instrumented.mjs'

export const RACE_OPTIONS = {
  OMP_NUM_THREADS: '1',
  TSAN_OPTIONS: 'second_deadlock_stack=1:exitcode=66',
}

const RACE = `#include <thread>
int shared = 0;
int main() {
  std::thread other([] { for (int i = 0; i < 100000; ++i) ++shared; });
  for (int i = 0; i < 100000; ++i) ++shared;
  other.join();
  return 0;
}
`

/** @throws E_INTERNAL where a race goes unseen with the options that the tests run with */
export function showsRaces() {
  return mustFind('race', RACE, { flags: ['-fsanitize=thread'], env: RACE_OPTIONS, report: 'data race' })
}

/** Builds them in the folder of the other C++ tests, which set-up has configured. */
export async function buildRaceTests() {
  const build = join(root, 'build', 'cmake')
  const target = ['--target', 'test_races', '--parallel', String(buildJobs())]
  await runOrFail('the build', findBuildTools().cmake, ['--build', build, ...target])
  return join(build, 'races', 'test_races')
}
