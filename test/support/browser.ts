import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** PRUDENT_BROWSER, else what the system calls its Chromium; null where there is none. */
export function findBrowser(): string | null {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  const folders = (process.env.PATH ?? '').split(delimiter)
  const candidates = [
    process.env.PRUDENT_BROWSER ?? '',
    ...names.flatMap((name) => folders.map((folder) => join(folder, name))),
  ]
  return candidates.find((file) => file !== '' && isExecutable(file)) ?? null
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
