import path from 'node:path'
import type { Command } from 'commander'
import { type StudyOptions, withStudy } from './support/options.js'
import { command, type Session } from './support/session.js'

export function register(program: Command): void {
  withStudy(
    program
      .command('judge')
      .description(
        'judge trained policies by any reward model: one mean a policy, the reference sampled as often, methods compared',
      ),
  ).action(command(judge))
}

async function judge(session: Session, options: StudyOptions): Promise<void> {
  const { loadConfig } = await import('../config/load.js')
  const { judgeConfigSchema } = await import('../study/judge/config.js')
  const config = await loadConfig(judgeConfigSchema, options.config, { set: options.set })
  const { writeRunConfig } = await import('../run/config-file.js')
  const { runJudge } = await import('../study/judge/judge.js')
  const { writeReport } = await import('../report/write-report.js')
  const { progressBars } = await import('./support/progress.js')
  const { withOutput } = await import('./support/output-folder.js')
  await withOutput(options.output, async () => {
    const bars = progressBars(session)
    try {
      await writeRunConfig(path.join(options.output, 'config.yaml'), config)
      await runJudge({ config, runFolder: options.output, signal: session.signal, observer: bars })
      bars.stop()
      process.stdout.write(`${await writeReport(options.output)}\n`)
    } finally {
      bars.stop()
    }
  })
}
