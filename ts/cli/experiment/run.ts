/** `prudent reproduce` on models that exist: the stages in order, then summary.json and the report. */
import { join } from 'node:path'
import { loadAddon } from '../../addon/load.js'
import { argumentError } from '../../errors.js'
import { writeReport } from '../../report/write-report.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import { writeRunConfig } from '../../run/config-file.js'
import { makeFolder } from '../../run/folders.js'
import { runPool } from '../../study/pool.js'
import { typedCommand } from '../support/command-line.js'
import { withOutput } from '../support/output-folder.js'
import type { Session } from '../support/session.js'
import type { ExperimentConfig } from './config.js'
import { Ledger } from './ledger.js'
import { type ProcessOptions, runPrudent, runRanks } from './processes.js'
import { planStages, type Stage, stageConfigs, type Task } from './stages.js'
import { summariseExperiment } from './summarise.js'

export interface ExperimentOptions {
  output: string
  /** Writes the configurations and prints the commands, and runs none. */
  commands: boolean
}

/** Prints the path of the report on standard output. */
export async function runExperiment(session: Session, config: ExperimentConfig, options: ExperimentOptions) {
  const { output } = options
  const stages = planStages(config, output)
  await withOutput(output, async () => {
    await writeConfigs(config, output)
    if (options.commands) {
      for (const { tasks } of stages)
        for (const { parameters } of tasks) process.stdout.write(`${typedCommand(parameters)}\n`)
      return
    }
    const ledger = await Ledger.open(join(output, 'commands.json'))
    const crew = crewOf(config)
    for (const stage of stages) await runStage({ session, output, ledger, crew }, stage)
    const summary = await summariseExperiment(config, output, ledger, crew)
    await writeFileAtomic(join(output, 'summary.json'), `${JSON.stringify(summary)}\n`)
    process.stdout.write(`${await writeReport(output)}\n`)
  })
}

async function writeConfigs(config: ExperimentConfig, output: string): Promise<void> {
  await makeFolder(join(output, 'configs'))
  await writeRunConfig(join(output, 'config.yaml'), config)
  for (const [name, values] of Object.entries(stageConfigs(config, output)))
    await writeRunConfig(join(output, 'configs', `${name}.yaml`), values)
}

/** What processes run on. */
export interface Crew {
  /** One a process that trains. */
  slots: readonly { environment: Readonly<Record<string, string>> }[]
  devices: readonly string[]
}

/** @throws E_DEVICE where the configuration asks for GPUs and there is none */
function crewOf({ device, processes }: ExperimentConfig): Crew {
  const { cuda, cpu } = loadAddon().systemInfo()
  if (device === 'cpu')
    return { slots: Array.from({ length: processes ?? 1 }, () => ({ environment: {} })), devices: [cpu.model] }
  const { devices } = cuda
  if (devices.length === 0) {
    const found = cuda.built ? 'no CUDA device' : 'a build without CUDA ("prudent doctor" says why)'
    throw argumentError('E_DEVICE', 'device', 'a GPU (or --set device=cpu)', found)
  }
  // A process sees its own GPU alone and calls it cuda:0, so that no configuration names one.
  const visible = process.env.CUDA_VISIBLE_DEVICES?.split(',').map((text) => text.trim())
  const name = (index: number) => visible?.[index] ?? String(index)
  const slots = Array.from({ length: processes ?? devices.length }, (_, i) => ({
    environment: { CUDA_VISIBLE_DEVICES: name(i % devices.length) },
  }))
  return { slots, devices: devices.map((found) => found.name) }
}

interface StageContext {
  session: Session
  output: string
  ledger: Ledger
  crew: Crew
}

async function runStage(context: StageContext, { name, tasks }: Stage): Promise<void> {
  const { session, crew } = context
  const [only] = tasks
  if (tasks.length === 1 && only !== undefined) {
    session.note(`${name} …`)
    await runTask(context, only, crew.slots, (text) => process.stderr.write(text))
    return
  }
  const bar = session.progress(name, tasks.length)
  const free = [...crew.slots]
  let done = 0
  const work = tasks.map((task) => async () => {
    const slot = free.pop() as Crew['slots'][number]
    try {
      await runTask(context, task, [slot])
    } finally {
      free.push(slot)
    }
    bar.update(++done)
  })
  try {
    await runPool(work, crew.slots.length, session.signal)
  } finally {
    bar.stop()
  }
}

async function runTask(
  { session, output, ledger }: StageContext,
  { name, parameters, ranked }: Task,
  slots: Crew['slots'],
  listen?: (text: string) => void,
): Promise<void> {
  const started = performance.now()
  const options = (rank: number): ProcessOptions => ({
    log: join(output, 'logs', `${name}${rank === 0 ? '' : `.rank-${rank}`}.log`),
    environment: slots[rank]?.environment ?? {},
    signal: session.signal,
    ...(rank === 0 && listen && { listen }),
  })
  const answer = ranked ? await runRanks(parameters, slots.length, options) : await runPrudent(parameters, options(0))
  await ledger.add(name, (performance.now() - started) / 1000, answer)
}
