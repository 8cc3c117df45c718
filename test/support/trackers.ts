import { spawnSync } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** A Python that can import a module: PRUDENT_PEERS_PYTHON, the cache's environment for trackers, or the system's; null without. */
export function pythonWith(module: string): string | null {
  const { PRUDENT_PEERS_PYTHON: peers, PRUDENT_CACHE, XDG_CACHE_HOME } = process.env
  const cache = PRUDENT_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'prudent')
  const candidates = [peers, join(cache, 'trackers', 'bin', 'python'), 'python3'].filter((name) => name !== undefined)
  // Found without importing: mlflow takes seconds to.
  const program = `import importlib.util, sys; sys.exit(importlib.util.find_spec('${module}') is None)`
  return candidates.find((python) => spawnSync(python, ['-c', program]).status === 0) ?? null
}
