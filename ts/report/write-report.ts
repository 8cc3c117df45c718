/** `report.html` of a run directory, from what the run left in it. */
import { readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { PrudentError } from '../errors.js'
import { isMissing, writeFileAtomic } from '../run/atomic-files.js'
import { readMetrics } from '../run/metrics.js'
import { type Summary, summarySchema } from '../study/summary.js'
import { studyReport } from './study-report.js'
import { trainingReport } from './training-report.js'

/**
 * A run with summary.json is a study; one with metrics.jsonl alone is a training run. Returns the path of the page.
 * @throws E_NOT_FOUND when the folder holds neither, E_CORRUPT_FILE when summary.json is not what this version writes
 */
export async function writeReport(folder: string): Promise<string> {
  const summary = await readSummary(folder)
  const text = summary ? await studyReport(summary) : await reportOnTraining(folder)
  const path = join(folder, 'report.html')
  await writeFileAtomic(path, text)
  return path
}

async function readSummary(folder: string): Promise<Summary | null> {
  const path = join(folder, 'summary.json')
  const text = await readOptional(path)
  if (text === null) return null
  try {
    return summarySchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new PrudentError(
      'E_CORRUPT_FILE',
      `${path}: not a summary that this version writes: ${(cause as Error).message}`,
      { cause },
    )
  }
}

async function reportOnTraining(folder: string): Promise<string> {
  const { entries } = await readMetrics(join(folder, 'metrics.jsonl'))
  if (entries.length === 0) {
    const known = await stat(folder).then(
      () => true,
      () => false,
    )
    const what = known ? 'neither summary.json nor metrics.jsonl with a line' : 'no such folder'
    throw new PrudentError('E_NOT_FOUND', `${folder}: expected a run directory, received ${what}`, {
      argument: '--run',
      expected: 'a run directory',
      received: what,
    })
  }
  return trainingReport(basename(resolve(folder)), entries, (await readOptional(join(folder, 'config.yaml'))) ?? '')
}

async function readOptional(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw new PrudentError('E_IO', `${path}: cannot be read: ${(error as Error).message}`, { cause: error })
  }
}
