// A skipped test needs a row with a reason in test/skips.json: [{ "test": name or its beginning with a final *, "reason": … }].
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../setup/folders.mjs'

function matches(pattern, name) {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

/** @returns {{ unlisted: number, lines: string[] }} */
export function checkSkips(skipped, file = join(root, 'test', 'skips.json')) {
  const rows = JSON.parse(readFileSync(file, 'utf8'))
  let unlisted = 0
  const lines = skipped.map((name) => {
    const row = rows.find(({ test }) => matches(test, name))
    if (row?.reason) return `skipped: ${name}: ${row.reason}`
    unlisted += 1
    return `skipped without a row in test/skips.json: ${name}`
  })
  return { unlisted, lines }
}
