// A stamp records what a step was made from; the step is skipped while the same would be made again.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

export function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

export function writeJson(file, value) {
  mkdirSync(dirname(file), { recursive: true })
  const beside = `${file}.${process.pid}.tmp`
  writeFileSync(beside, `${JSON.stringify(value, null, 2)}\n`)
  renameSync(beside, file)
}

/** Files below a folder (or the file itself), sorted, as paths that begin with `path`. Missing: none. */
export function filesBelow(path, keep = () => true) {
  let entry
  try {
    entry = statSync(path)
  } catch {
    return []
  }
  if (!entry.isDirectory()) return [path]
  const found = []
  for (const child of readdirSync(path, { withFileTypes: true })) {
    const full = join(path, child.name)
    if (child.isDirectory()) found.push(...filesBelow(full, keep))
    else if (child.isFile() && keep(full)) found.push(full)
  }
  return found.sort()
}

/** Hash over names (from `base` on) and contents of files, and over `extra`. */
export function fingerprint(files, extra = {}, base = '/') {
  const hash = createHash('sha256')
  for (const file of files)
    hash.update(`${relative(base, file)}\0`).update(createHash('sha256').update(readFileSync(file)).digest())
  return hash.update(JSON.stringify(extra)).digest('hex').slice(0, 32)
}
