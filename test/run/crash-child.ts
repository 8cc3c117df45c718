/** countedRun, killed at its n-th action on the file system: `node crash-child.js FOLDER N` (0: not killed). */
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const [folder, killAt] = [process.argv[2] as string, Number(process.argv[3])]
let actions = 0

function dies(): boolean {
  return ++actions === killAt
}

function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

const files = fs as unknown as Record<string, (...parameters: unknown[]) => Promise<unknown>>
for (const name of ['rename', 'rm', 'mkdir', 'link', 'open', 'writeFile']) {
  const original = files[name] as (...parameters: unknown[]) => Promise<unknown>
  files[name] = async (...parameters) => {
    if (dies()) die()
    return original(...parameters)
  }
}

// A handle's write is cut in half: what a kill in the middle of it leaves.
const probe = await fs.open(process.execPath, 'r')
const prototype = Object.getPrototypeOf(probe)
await probe.close()
const writeWhole = prototype.writeFile
prototype.writeFile = async function (this: unknown, content: string | Uint8Array) {
  if (!dies()) return writeWhole.call(this, content)
  await writeWhole.call(this, content.slice(0, content.length >> 1))
  return die()
}
syncBuiltinESMExports()

const { countedRun } = await import('./counted-run.js')
await countedRun(folder)
process.stdout.write(`${actions}\n`)
