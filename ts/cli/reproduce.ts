import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { command, type Session } from './support/session.js'

interface ReproduceOptions {
  config: string
  output: string
  set: string[]
}

export function register(program: Command): void {
  program
    .command('reproduce')
    .description(
      'run a whole study: language models, reward models, ensembles, policies, verdict and report; goes on where it was stopped',
    )
    .requiredOption('--config <file>', 'YAML configuration of the study')
    .requiredOption('--output <folder>', 'run directory; what is done there is not done again')
    .option(
      '--set <key=value>',
      'replace a value of the configuration, may be repeated',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .action(command(reproduce))
}

async function reproduce(session: Session, options: ReproduceOptions): Promise<void> {
  const { loadConfig } = await import('../config/load.js')
  const { studyConfigSchema } = await import('../study/config.js')
  const config = await loadConfig(studyConfigSchema, options.config, { set: options.set })
  const { lockRun } = await import('../run/lock.js')
  const { writeRunConfig } = await import('../run/config-file.js')
  const { runStudy } = await import('../study/study.js')
  await mkdir(options.output, { recursive: true })
  const lock = await lockRun(options.output)
  const started = performance.now()
  const bars = progressBars(session)
  try {
    await writeRunConfig(path.join(options.output, 'config.yaml'), config)
    const observer = { note: bars.note, progress: bars.progress }
    const summary = await runStudy({ config, runFolder: options.output, signal: session.signal, observer })
    const { writeReport } = await import('../report/write-report.js')
    const report = await writeReport(options.output)
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    session.note(`${summary.headline.outcome}: ${summary.headline.sentence}`)
    session.note(`${seconds} s; open ${report}`)
    process.stdout.write(`${report}\n`)
  } finally {
    bars.stop()
    await lock.release()
  }
}

/** One bar at a time: a new label ends the one before. */
function progressBars(session: Session) {
  let current: { label: string; bar: ReturnType<Session['progress']> } | null = null
  const stop = () => {
    current?.bar.stop()
    current = null
  }
  return {
    stop,
    note(line: string) {
      stop()
      session.note(line)
    },
    progress(label: string, done: number, total: number) {
      if (current?.label !== label) {
        stop()
        current = { label, bar: session.progress(label, total) }
      }
      current.bar.update(done, total)
    },
  }
}
