/** The report of one folder or of several: report.html, report.md and report.json. */
import { basename, join, resolve } from 'node:path'
import { PrudentError } from '../errors.js'
import { writeFileAtomic } from '../run/atomic-files.js'
import { readMetrics } from '../run/metrics.js'
import { judgeReport } from './judge-report.js'
import { markdownReport } from './markdown.js'
import { paperRows } from './paper/rows.js'
import { isFolder, readOptional, readSource, type Source } from './sources.js'
import { joinedReport, studyReport } from './study-report.js'
import { trainingReport } from './training-report.js'

export interface ReportOptions {
  /** Further folders whose results go into the same report, beside those that the folder itself holds (INSIDE). */
  beside?: readonly string[]
  /** Where the report goes; default: the folder itself. */
  output?: string
}

/**
 * A folder with summary.json is a study, or what the summary's `kind` says; one with metrics.jsonl alone is a training run. Returns the
 * path of the page; studies and joined reports come as Markdown and JSON beside it.
 * @throws E_NOT_FOUND when a folder holds neither, E_CORRUPT_FILE when summary.json is not what this version writes
 */
export async function writeReport(folder: string, options: ReportOptions = {}): Promise<string> {
  const { output = folder } = options
  const first = await readSource(folder)
  const beside = [...(await foldersInside(folder)), ...(options.beside ?? [])]
  const path = join(output, 'report.html')
  if (first === null && beside.length === 0) {
    await writeFileAtomic(path, await reportOnTraining(folder))
    return path
  }
  const others = await Promise.all(beside.map(requireSource))
  const sources = [first ?? (await requireSource(folder)), ...others]
  const study = sources.find((source) => source.kind === 'study')
  await writeFileAtomic(path, await pageOf(sources, study))
  if (!study && sources.length === 1) return path
  const rows = paperRows(sources)
  await writeFileAtomic(join(output, 'report.md'), markdownReport(rows, study?.summary))
  await writeFileAtomic(join(output, 'report.json'), `${JSON.stringify(jsonReport(sources, rows), null, 1)}\n`)
  return path
}

/** What a study's folder may hold of other commands; it joins the report without being named. */
const INSIDE = ['theory', 'rewardbench', 'variance', 'variance-independent', 'sources', 'judge']

async function foldersInside(folder: string): Promise<string[]> {
  const present = await Promise.all(
    INSIDE.map(async (name) =>
      (await readOptional(join(folder, name, 'summary.json'))) === null ? [] : [join(folder, name)],
    ),
  )
  return present.flat()
}

async function pageOf(
  sources: readonly Source[],
  study: Extract<Source, { kind: 'study' }> | undefined,
): Promise<string> {
  if (study)
    return studyReport(
      study.summary,
      study.folder,
      sources.filter((source) => source !== study),
    )
  const [only] = sources
  return only?.kind === 'judge' && sources.length === 1 ? judgeReport(only.summary) : joinedReport(sources)
}

function jsonReport(sources: readonly Source[], rows: ReturnType<typeof paperRows>) {
  return {
    version: 1,
    sources: sources.map(({ kind, folder }) => ({ kind, folder, summary: join(folder, 'summary.json') })),
    paper: rows,
    studies: sources.flatMap((source) =>
      source.kind === 'study'
        ? [
            {
              folder: source.folder,
              headline: source.summary.headline,
              verdicts: source.summary.verdicts.list,
              judged: source.summary.figures.judged,
            },
          ]
        : [],
    ),
  }
}

async function requireSource(folder: string): Promise<Source> {
  const source = await readSource(folder)
  if (source) return source
  const what = (await isFolder(folder)) ? 'no summary.json' : 'no such folder'
  throw new PrudentError('E_NOT_FOUND', `${folder}: expected a folder with summary.json, received ${what}`, {
    argument: 'folder',
    expected: 'a folder with summary.json',
    received: what,
  })
}

async function reportOnTraining(folder: string): Promise<string> {
  const { entries } = await readMetrics(join(folder, 'metrics.jsonl'))
  if (entries.length === 0) {
    const what = (await isFolder(folder)) ? 'neither summary.json nor metrics.jsonl with a line' : 'no such folder'
    throw new PrudentError('E_NOT_FOUND', `${folder}: expected a run directory, received ${what}`, {
      argument: '--run',
      expected: 'a run directory',
      received: what,
    })
  }
  return trainingReport(basename(resolve(folder)), entries, (await readOptional(join(folder, 'config.yaml'))) ?? '')
}
