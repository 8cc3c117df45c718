/** What a report is made of: folders with a summary.json (a study, judged policies, or any other command's) and what their pages show. */
import { readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { z } from 'zod'
import { PrudentError } from '../errors.js'
import { isMissing } from '../run/atomic-files.js'
import { type ExperimentSummary, experimentSummarySchema } from '../study/experiment/summary.js'
import { type JudgeSummary, judgeSummarySchema } from '../study/judge/summary.js'
import { type Summary, summarySchema } from '../study/summary.js'

export type Source =
  | { kind: 'study'; folder: string; summary: Summary }
  | { kind: 'judge'; folder: string; summary: JudgeSummary }
  | { kind: 'experiment'; folder: string; summary: ExperimentSummary }
  /** Of another command: read by the names of its numbers, shown as its own page shows it. */
  | { kind: 'theory' | 'rewardbench' | 'variance' | 'other'; folder: string; summary: unknown; body: string }

/** @throws E_NOT_FOUND without a folder, E_CORRUPT_FILE for a summary of another shape; null when there is no summary.json */
export async function readSource(folder: string): Promise<Source | null> {
  const file = join(folder, 'summary.json')
  const text = await readOptional(file)
  if (text === null) return null
  const value = parseJson(file, text)
  const kind = kindOf(value, folder)
  if (kind === 'study') return { kind, folder, summary: parseWith(summarySchema, file, value) }
  if (kind === 'judge') return { kind, folder, summary: parseWith(judgeSummarySchema, file, value) }
  if (kind === 'experiment') return { kind, folder, summary: parseWith(experimentSummarySchema, file, value) }
  return { kind, folder, summary: value, body: bodyOf((await readOptional(join(folder, 'report.html'))) ?? '') }
}

function kindOf(value: unknown, folder: string): Source['kind'] {
  const { kind, layout, headline } = (value ?? {}) as Record<string, unknown>
  if (kind === undefined && layout !== undefined && headline !== undefined) return 'study'
  if (kind === 'experiment') return 'experiment'
  const text = `${String(kind ?? '')} ${kind === undefined ? basename(resolve(folder)) : ''}`
    .toLowerCase()
    .replaceAll('-', '')
  const known = { judge: 'judge', theory: 'theory', rewardbench: 'bench', variance: 'variance' } as const
  for (const [name, part] of Object.entries(known)) if (text.includes(part)) return name as keyof typeof known
  if (JSON.stringify(value).includes('"stdUnaware"')) return 'theory'
  // What does not say what it is can only be a study of another version.
  return typeof kind === 'string' ? 'other' : 'study'
}

/** What a page that page.ts made shows, one heading lower; a page of another kind gives nothing. */
function bodyOf(page: string): string {
  const body = /<body>([\s\S]*)<\/body>/.exec(page)?.[1] ?? ''
  return body
    .replace(/<nav[\s\S]*?<\/nav>/g, '')
    .replaceAll('<h1', '<h2')
    .replaceAll('</h1>', '</h2>')
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PrudentError('E_CORRUPT_FILE', `${file}: not JSON: ${(cause as Error).message}`, { cause })
  }
}

function parseWith<T>(schema: { parse(value: unknown): T }, file: string, value: unknown): T {
  try {
    return schema.parse(value)
  } catch (cause) {
    const { issues = [], message: whole } = cause as z.ZodError
    const [first] = issues
    const what = first === undefined ? whole : `${first.path.map(String).join('.') || 'the whole'}: ${first.message}`
    const message = `${file}: not a summary that this version writes: ${what}`
    throw new PrudentError('E_CORRUPT_FILE', message, { cause })
  }
}

export async function readOptional(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw new PrudentError('E_IO', `${file}: cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

export async function isFolder(file: string): Promise<boolean> {
  return (await stat(file).catch(() => null))?.isDirectory() ?? false
}
