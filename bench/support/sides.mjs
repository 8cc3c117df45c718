// Starts the sides of a job: ours under Node, peers under their Python, the native bench executable. All with the same number of threads.
import { join } from 'node:path'
import { root } from '../../scripts/setup/folders.mjs'
import { Side } from './side.mjs'

/**
 * @typedef {{ python: string, env: Record<string, string> } | { missing: string }} Peer
 * @param {'ours' | 'native' | 'today' | 'classic'} kind
 * @param {{ threads: number, peers: Record<string, Peer>, nativeBench?: string, peerScript?: string }} environment
 * @returns {Promise<{ side: Side, hello: { versions: Record<string, string> } }>}
 */
export async function startSide(kind, name, environment) {
  const { threads } = environment
  const side = new Side({ name, cwd: root, ...commandOf(kind, environment) })
  return { side, hello: await side.call('hello', { threads }) }
}

function commandOf(kind, { threads, peers, nativeBench, peerScript = join(root, 'bench', 'peers', 'side.py') }) {
  const env = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) }
  if (kind === 'ours') return { command: process.execPath, args: [join(root, 'bench', 'ours', 'side.mjs')], env }
  if (kind === 'native') return { command: nativeBench, args: ['--serve', '--threads', String(threads)], env }
  const { python, env: more } = peers[kind]
  const offline = { HF_HUB_OFFLINE: '1', TRANSFORMERS_VERBOSITY: 'error', TOKENIZERS_PARALLELISM: 'false' }
  return { command: python, args: [peerScript], env: { ...env, ...offline, ...more } }
}
