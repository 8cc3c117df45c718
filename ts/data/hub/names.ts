import { PrudentError } from '../../errors.js'

/** `owner/name`, or the bare name of the repositories that are older than owners. */
export function checkRepositoryName(name: string): void {
  if (/^[\w.-]+(\/[\w.-]+)?$/.test(name) && !name.includes('..') && !name.includes('--') && !/(^|\/)\./.test(name))
    return
  throw new PrudentError('E_USAGE', `"${name}": expected a hub id such as owner/name`, {
    argument: 'name',
    received: name,
  })
}

export function checkRevision(revision: string): void {
  const parts = revision.split('/')
  const safe = parts.every((part) => part !== '' && part !== '.' && part !== '..')
  if (/^[\w./-]+$/.test(revision) && safe) return
  throw new PrudentError('E_USAGE', `revision: "${revision}" is no branch, tag or commit`, {
    argument: 'revision',
    received: revision,
  })
}

/** What Windows takes for a device, with or without an ending. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i
/** Drives and streams (:), wildcards, quotes, pipes, and control characters: names that mean something else somewhere. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const SPECIAL = /[\u0000-\u001f\u007f<>:"|?*\\]/

/**
 * Names come from the repository and become paths below the cache folder. Refused is whatever leads out of it, on any system: a
 * cache may lie on a file server that several of them mount.
 * @throws E_HUB
 */
export function checkFileName(path: string, repository: string): void {
  const problem = problemOf(path)
  if (problem === null) return
  throw new PrudentError('E_HUB', `${repository}: refused the file name ${JSON.stringify(path)}, which ${problem}`, {
    argument: 'name',
    received: path,
  })
}

function problemOf(path: string): string | null {
  const parts = path.split(/[/\\]/)
  if (/^[a-zA-Z]:/.test(path)) return 'names a drive'
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'leads out of the cache'
  if (SPECIAL.test(path)) return 'holds characters that are no part of a name'
  if (parts.some((part) => DEVICE.test(part))) return 'names a device'
  if (parts.some((part) => /[. ]$/.test(part))) return 'ends in a dot or a space, which some systems drop'
  if (parts.some((part) => Buffer.byteLength(part) > 255) || Buffer.byteLength(path) > 1024) return 'is too long'
  return null
}

/** A name that is a file and a folder at once cannot be linked; no repository of git has one. */
export function checkNoFileIsFolder(names: readonly string[], repository: string): void {
  const files = new Set(names)
  for (const name of names) {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
      const folder = name.slice(0, at)
      if (!files.has(folder)) continue
      const message = `${repository}: refused the file name ${JSON.stringify(name)}: ${JSON.stringify(folder)} is a file`
      throw new PrudentError('E_HUB', message, { argument: 'name', received: name })
    }
  }
}
