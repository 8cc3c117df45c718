import { join } from 'node:path'
import { theoryReport } from '../../report/theory-report.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import { runTheory } from '../../theory/study.js'
import { commandLine, unless } from '../support/command-line.js'
import { withOutput } from '../support/output-folder.js'
import type { Session } from '../support/session.js'
import type { TheoryCommandOptions } from '../theory.js'

/** `prudent theory`: summary.json and report.html in the output folder; gives the path of the page. */
export async function makeTheory(
  { signal, note }: Pick<Session, 'signal' | 'note'>,
  { output, seed, draws, dimension }: TheoryCommandOptions,
): Promise<string> {
  return withOutput(output, async () => {
    const summary = await runTheory({ seed, draws, dimension, signal }, (what) => note(`${what} …`))
    const command = commandLine('theory', {
      seed: unless(20, seed),
      draws: unless(100_000, draws),
      dimension: unless(1000, dimension),
    })
    const { kind, ...numbers } = summary
    await writeFileAtomic(join(output, 'summary.json'), `${JSON.stringify({ kind, command, ...numbers }, null, 2)}\n`)
    const report = join(output, 'report.html')
    await writeFileAtomic(report, await theoryReport(summary))
    for (const finding of summary.findings) note(`- ${finding}`)
    return report
  })
}
