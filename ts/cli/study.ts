import { type Command, Option } from 'commander'
import type { Shard } from '../study/shards.js'
import { type StudyOptions, withStudy } from './support/options.js'
import { command, type Session } from './support/session.js'

interface StudyCommandOptions extends StudyOptions {
  shard?: string
  wait: boolean
  prepare?: boolean
  aggregate?: boolean
  plan?: boolean
}

export function register(program: Command): void {
  withStudy(
    program
      .command('study')
      .description(
        'run a study by one process or by many that share its run directory, as a Slurm array or a Kubernetes indexed job',
      ),
  )
    .option(
      '--shard <i/n>',
      'one of n processes; default: what a Slurm array or a Kubernetes indexed job says, else the whole',
    )
    .option('--no-wait', 'exit with 75 where other shards would have to be waited for')
    .addOption(
      new Option('--prepare', 'do what all policies need (models, heads, measures) and train none').conflicts([
        'aggregate',
        'plan',
      ]),
    )
    .addOption(
      new Option('--aggregate', 'train nothing: summary and report of what is there; names what is missing').conflicts([
        'shard',
        'plan',
      ]),
    )
    .addOption(new Option('--plan', 'print what would be trained, as JSON, and do nothing').conflicts('shard'))
    .addHelpText('after', HELP)
    .action(command(study))
}

async function study(session: Session, options: StudyCommandOptions): Promise<void> {
  const { loadConfig } = await import('../config/load.js')
  const { studyConfigSchema } = await import('../study/config.js')
  const { parseShard, shardOfEnvironment } = await import('../study/shards.js')
  const alone = options.aggregate === true || options.plan === true
  let shard: Shard | null = null
  if (options.shard !== undefined) shard = parseShard(options.shard)
  else if (!alone) shard = shardOfEnvironment(process.env)
  const config = await loadConfig(studyConfigSchema, options.config, { set: options.set })
  if (options.plan) {
    const { describePlan } = await import('../study/plan.js')
    process.stdout.write(`${JSON.stringify(describePlan(config), null, 2)}\n`)
    return
  }
  const { runStudyCommand } = await import('./support/study-run.js')
  if (shard) session.note(`shard ${shard.index} of ${shard.count} (counted from 0)`)
  const mode = options.aggregate ? 'aggregate' : options.prepare ? 'prepare' : 'run'
  await runStudyCommand(session, config, { output: options.output, shard, mode, wait: options.wait })
}

const HELP = `
Shards share nothing but the run directory. A stage or a policy is done by the one that holds its lock; the others go on with
something else or wait. A shard may die at any moment and be started again, or not: what it held is taken over. The last step,
summary.json and report.html, is done by whoever comes to it first.

Slurm:       SLURM_ARRAY_TASK_ID, _COUNT, _MIN, _STEP       (examples/slurm/study-array.sbatch)
Kubernetes:  JOB_COMPLETION_INDEX and PRUDENT_SHARD_COUNT   (completionMode: Indexed; the count is .spec.completions once more)`
