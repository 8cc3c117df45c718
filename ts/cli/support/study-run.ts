/** What `prudent reproduce` and `prudent study` share: one study in one run directory, by one process or by several. */
import path from 'node:path'
import { PrudentError } from '../../errors.js'
import { writeReport } from '../../report/write-report.js'
import { makeFolder } from '../../run/atomic-files.js'
import { differingKeys, type PlainConfig, plainConfig, readRunConfig, writeRunConfig } from '../../run/config-file.js'
import { lockFile, lockRun } from '../../run/lock.js'
import { Claims } from '../../study/claims.js'
import type { StudyConfig } from '../../study/config.js'
import type { Shard } from '../../study/shards.js'
import { runStudy } from '../../study/study.js'
import { progressBars, withBars } from './progress.js'
import type { Session } from './session.js'
import { besideStudy } from './study-beside.js'

export interface StudyRunOptions {
  output: string
  /** null: the whole study, alone. */
  shard: Shard | null
  mode: 'run' | 'prepare' | 'aggregate'
  wait: boolean
}

/** Prints the path of the report on standard output; nothing where there is none yet. */
export async function runStudyCommand(session: Session, config: StudyConfig, options: StudyRunOptions): Promise<void> {
  await makeFolder(options.output)
  const started = performance.now()
  const bars = progressBars(session)
  const lock = options.shard === null ? await lockRun(options.output) : null
  try {
    await settleConfig(options, config)
    const summary = await runStudy({
      config,
      runFolder: options.output,
      signal: session.signal,
      observer: bars,
      mode: options.mode,
      claims: claimsOf(session, bars, options),
      accompany: besideStudy({ config, runFolder: options.output, session: withBars(session, bars) }),
      publish: () => writeReport(options.output),
    })
    bars.stop()
    const seconds = `${((performance.now() - started) / 1000).toFixed(0)} s`
    if (summary === null) return session.note(`${seconds}; everything that policies need is there`)
    const report = path.join(options.output, 'report.html')
    session.note(`${summary.headline.outcome}: ${summary.headline.sentence}`)
    session.note(`${seconds}; open ${report}`)
    process.stdout.write(`${report}\n`)
  } finally {
    bars.stop()
    await lock?.release()
  }
}

function claimsOf(session: Session, bars: { note(line: string): void }, options: StudyRunOptions): Claims {
  return new Claims({
    ...(options.shard && { shard: options.shard }),
    wait: options.wait,
    signal: session.signal,
    onWait: (what) => bars.note(`waiting for ${what}`),
  })
}

/** A whole study may change rules and write its config anew; shards must agree with those that were there before. */
async function settleConfig(options: StudyRunOptions, config: StudyConfig): Promise<void> {
  const file = path.join(options.output, 'config.yaml')
  if (options.shard === null) return writeRunConfig(file, config)
  const lock = await patientLock(path.join(options.output, 'config.lock'))
  try {
    const present = await readRunConfig(file)
    if (present === null) return await writeRunConfig(file, config)
    const keys = differingKeys(present, plainConfig(config as PlainConfig))
    if (keys.length === 0) return
    const message = `${options.output}: its shards run another configuration (${keys.join(', ')}); choose another folder, or run once without --shard`
    throw new PrudentError('E_STATE', message, { argument: '--config', received: keys.join(', ') })
  } finally {
    await lock.release()
  }
}

/** Of a lock that everybody holds for a moment only. */
async function patientLock(file: string) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await lockFile(file)
    } catch (error) {
      if (!(error instanceof PrudentError && error.code === 'E_LOCKED') || attempt >= 600) throw error
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}
