import { accessSync, constants, realpathSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Path of a program on PATH, links followed. @throws when there is none */
export function which(name: string): string {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return realpathSync(join(folder, name))
    } catch {
      // Not here.
    }
  }
  throw new Error(`${name} is not on PATH`)
}
