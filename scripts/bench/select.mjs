// Which benches a command line names: files of bench/, and of a file with several jobs those whose names hold the words.
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../setup/folders.mjs'
import { filesBelow } from '../setup/stamps.mjs'

export class UnknownBench extends Error {}

/**
 * bench/training/*.mjs, bench/ops/ops.mjs and bench/service/load.mjs. A file that exports jobNames defines jobs of these names; any other is
 * one job, named as the file.
 * @returns {Promise<{ file: string, bench: object, jobs: string[] }[]>}
 */
export async function allBenches({ quick = false } = {}) {
  const programs = ['training', 'ops'].flatMap((folder) =>
    filesBelow(join(root, 'bench', folder), (file) => file.endsWith('.mjs')).map((file) => relative(root, file)),
  )
  const files = [...programs, 'bench/service/load.mjs']
  const benches = []
  for (const file of files) {
    const bench = await import(pathToFileURL(join(root, file)).href)
    benches.push({ file, bench, jobs: bench.jobNames?.({ quick }) ?? [file.replace(/^bench\/|\.mjs$/g, '')] })
  }
  return benches
}

/**
 * A word that is part of files' names names all their jobs; any other names the jobs whose names it is part of.
 * @param {string[]} words none: all
 */
export function selectBenches(benches, words) {
  if (words.length === 0) return benches
  const named = words.map((word) => jobsNamed(benches, word))
  const unknown = words.filter((_, at) => named[at].size === 0)
  if (unknown.length > 0) {
    throw new UnknownBench(
      `${unknown.map((word) => `'${word}'`).join(', ')}: no bench and no job of one has such a name; there are\n${listBenches(benches)}`,
    )
  }
  return benches
    .map((one) => ({ ...one, jobs: one.jobs.filter((job) => named.some((jobs) => jobs.has(job))) }))
    .filter(({ jobs }) => jobs.length > 0)
}

/** @returns {Set<string>} */
function jobsNamed(benches, word) {
  const files = benches.filter(({ file }) => `${file} ${file.replace(/\.mjs$/, '')}`.includes(word))
  const jobs = (files.length > 0 ? files : benches).flatMap((one) => one.jobs)
  return new Set(files.length > 0 ? jobs : jobs.filter((job) => job.includes(word)))
}

/** Whether define's job is one of a selection: a job's name may go on with its sizes. */
export function isSelected({ name }, jobs) {
  return jobs.some((job) => name === job || name.startsWith(`${job} `))
}

/** A line a file; operations without their passes. */
export function listBenches(benches) {
  return benches
    .map(({ file, jobs }) => `  ${file}: ${[...new Set(jobs.map((job) => job.split(' ')[0]))].join(', ')}`)
    .join('\n')
}
