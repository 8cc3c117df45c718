/** The policies that a judge's configuration names. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { resolveModel } from '../../data/model-files.js'
import { expandHome } from '../../data/sources.js'
import { argumentError, PrudentError } from '../../errors.js'
import type { JudgeConfig, PolicyReference } from './config.js'

export interface FoundPolicy {
  group: string
  /** Number within the group. */
  index: number
  /** As the summary names it. */
  model: string
  folder: string
  head: string
}

/** @throws E_NOT_FOUND, E_CONFIG when a group shares fewer than three heads with the first */
export async function findPolicies(config: JudgeConfig, signal: AbortSignal): Promise<FoundPolicy[]> {
  const found: FoundPolicy[] = []
  for (const group of config.groups) {
    const members: Omit<FoundPolicy, 'group' | 'index' | 'head'>[] = []
    const heads: (string | undefined)[] = []
    for (const reference of group.policies) {
      const folders = await foldersOf(reference, signal)
      members.push(...folders)
      heads.push(
        ...folders.map(() =>
          'head' in reference && reference.head !== undefined ? String(reference.head) : undefined,
        ),
      )
    }
    found.push(
      ...members.map((member, index) => ({ ...member, group: group.name, index, head: heads[index] ?? `#${index}` })),
    )
  }
  requirePairs(config, found)
  return found
}

async function foldersOf(reference: PolicyReference, signal: AbortSignal) {
  const root = expandHome(reference.path)
  const isFolder = (await stat(root).catch(() => null))?.isDirectory() ?? false
  const own = isFolder ? await modelFolder(root) : null
  if (own !== null) return [{ model: reference.path, folder: own }]
  if (!isFolder) return [{ model: reference.path, folder: (await resolveModel(reference, { signal })).folder }]
  const inside: { model: string; folder: string }[] = []
  for (const name of (await readdir(root)).sort(byNumberThenName)) {
    const folder = await modelFolder(path.join(root, name))
    if (folder !== null) inside.push({ model: path.join(reference.path, name), folder })
  }
  if (inside.length > 0) return inside
  throw new PrudentError('E_NOT_FOUND', `${reference.path}: neither a model nor a folder of models`, {
    argument: 'groups',
  })
}

/** A model is a folder with config.json, or a run directory with model/. */
async function modelFolder(folder: string): Promise<string | null> {
  for (const candidate of [folder, path.join(folder, 'model')]) {
    if ((await stat(path.join(candidate, 'config.json')).catch(() => null))?.isFile()) return candidate
  }
  return null
}

const byNumberThenName = (a: string, b: string) => a.localeCompare(b, 'en', { numeric: true })

/** Pitman-Morgan has no degrees of freedom below three pairs. */
function requirePairs(config: JudgeConfig, found: readonly FoundPolicy[]): void {
  const headsOf = (group: string) =>
    new Set(found.filter((policy) => policy.group === group).map((policy) => policy.head))
  const [first, ...others] = config.groups
  const baseline = headsOf((first as JudgeConfig['groups'][number]).name)
  for (const { name } of others) {
    const common = [...headsOf(name)].filter((head) => baseline.has(head)).length
    if (common < 3) {
      throw argumentError(
        'E_CONFIG',
        'groups',
        `at least 3 heads that ${name} and ${first?.name} both have`,
        String(common),
      )
    }
  }
}

/** Changes when weights are written anew, so that what was judged before them is not taken for theirs. */
export async function signatureOf(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort()
  return Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(path.join(folder, name))
      return `${name} ${size} ${mtimeMs}`
    }),
  )
}
