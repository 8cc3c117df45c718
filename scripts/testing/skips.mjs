// A skipped test needs a row with a reason in test/skips.json: [{ "test": name or its beginning with a final *, "reason": … }].
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../setup/folders.mjs'

function matches(pattern, name) {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

/** One line a row of test/skips.json that excused something, one a test that no row excuses.
 * @returns {{ unlisted: string[], lines: string[] }} */
export function checkSkips(skipped, file = join(root, 'test', 'skips.json')) {
  const unlisted = []
  const excused = new Map()
  const rows = JSON.parse(readFileSync(file, 'utf8'))
  for (const name of skipped) {
    const row = rows.find(({ test }) => matches(test, name))
    if (row?.reason) excused.set(row, [...(excused.get(row) ?? []), name])
    else unlisted.push(name)
  }
  const lines = [...excused].map(([{ test, reason }, names]) =>
    names.length === 1 ? `skipped: ${names[0]}: ${reason}` : `skipped: ${test} (${names.length} tests): ${reason}`,
  )
  return { unlisted, lines: [...lines, ...unlisted.map((name) => `skipped without a row in test/skips.json: ${name}`)] }
}
