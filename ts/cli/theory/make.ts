import { join } from 'node:path'
import { theoryReport } from '../../report/theory-report.js'
import { makeFolder, writeFileAtomic } from '../../run/atomic-files.js'
import { runTheory } from '../../theory/study.js'
import { commandLine, unless } from '../support/command-line.js'
import type { Session } from '../support/session.js'
import type { TheoryCommandOptions } from '../theory.js'

/** `prudent theory`: summary.json and report.html in the output folder; gives the path of the page. */
export async function makeTheory(
  session: Pick<Session, 'signal' | 'note'>,
  options: TheoryCommandOptions,
): Promise<string> {
  const { output, seed, draws, dimension } = options
  await makeFolder(output)
  const { signal } = session
  const summary = runTheory({ seed, draws, dimension, signal }, (what) => session.note(`${what} …`))
  const command = commandLine('theory', {
    seed: unless(20, seed),
    draws: unless(100_000, draws),
    dimension: unless(1000, dimension),
  })
  const { kind, ...numbers } = summary
  await writeFileAtomic(join(output, 'summary.json'), `${JSON.stringify({ kind, command, ...numbers }, null, 2)}\n`)
  const report = join(output, 'report.html')
  await writeFileAtomic(report, await theoryReport(summary))
  for (const finding of summary.findings) session.note(`- ${finding}`)
  return report
}
