import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { packageRoot } from '../../addon/places.js'

/** Set-up needs Node's built-ins alone and is a program of its own, because a clone runs it before there is any build. */
export async function runSetUp(signal: AbortSignal): Promise<void> {
  const child = spawn(process.execPath, [join(packageRoot, 'scripts', 'setup.mjs')], { stdio: ['ignore', 2, 2] })
  const stop = () => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const [status] = (await once(child, 'close')) as [number | null]
  signal.removeEventListener('abort', stop)
  process.exitCode = status ?? 1
}
