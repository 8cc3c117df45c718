import { join } from 'node:path'
import { packageRoot } from '../../addon/places.js'
import { type CostPlan, costMarkdown, type Device, type SeenRate } from '../../report/cost-tables.js'
import { type Experiment, studyExperiment } from '../../study/cost/experiment.js'
import { baseParameters } from '../../study/cost/shapes.js'
import { stageCosts, storageRows } from '../../study/cost/stages.js'
import { experimentCost } from '../experiment/cost.js'
import type { PlanOptions } from '../plan.js'
import { loadExperimentOrStudy } from '../support/any-config.js'
import type { Session } from '../support/session.js'
import { seenRate } from './like.js'

/** Makers' dense bf16 peaks (TFLOP/s) and memory (GB of 10^9 bytes). */
const GPUS: Readonly<Record<string, { peakTflops: number; memory: number }>> = {
  a40: { peakTflops: 149.7, memory: 48e9 },
  a100: { peakTflops: 312, memory: 80e9 },
  h100: { peakTflops: 989, memory: 80e9 },
  h200: { peakTflops: 989, memory: 141e9 },
}

const PAPER = join(packageRoot, 'configs', 'paper.yaml')

/** `prudent plan`. */
export async function printPlan(session: Session, options: PlanOptions): Promise<void> {
  const { config = PAPER, set, sideTokens: side } = options
  const any = await loadExperimentOrStudy(config, set)
  const isPaper = any.kind === 'experiment'
  const experiment = isPaper
    ? await experimentCost(any.config, { side, signal: session.signal })
    : studyExperiment(any.config)
  const like: SeenRate[] = []
  for (const folder of options.like) like.push(await seenRate(folder, session.signal))
  const plan = planOf(experiment, isPaper, like, options)
  process.stdout.write(options.json ? `${JSON.stringify(plan, null, 2)}\n` : costMarkdown(plan))
}

/** Whose rate a stage has, in the order of the stages: scoring is the forward of reward models. */
const STAGE_TASKS: readonly SeenRate['task'][] = ['reward', 'reward', 'policy', 'policy', 'reward']

/** TFLOP/s of the runs of a task together, of all where there is none of it; undefined without any. */
function rateOf(like: readonly SeenRate[], task: SeenRate['task'] | undefined): number | undefined {
  const own = like.filter((run) => run.task === task)
  const runs = own.length > 0 ? own : like
  const sum = (name: 'flops' | 'seconds') => runs.reduce((total, run) => total + run[name], 0)
  return runs.length === 0 ? undefined : sum('flops') / sum('seconds') / 1e12
}

function planOf(experiment: Experiment, isPaper: boolean, like: SeenRate[], options: PlanOptions): CostPlan {
  const { gpu, gpus, tflops } = options

  const known = gpu === undefined ? undefined : GPUS[gpu]
  const device: Device = {
    name: gpu ?? null,
    count: gpus,
    peakTflops: known?.peakTflops ?? null,
    memory: known?.memory ?? null,
  }
  const hours = (flops: number, rate: number | null | undefined) =>
    rate === null || rate === undefined ? null : flops / (rate * 1e12 * gpus) / 3600
  const { scorer, policy, judge } = experiment
  return {
    name: experiment.name,
    isPaper,
    device,
    tflops: tflops ?? null,
    like,
    tokens: experiment.tokens,
    parameters: { scorer: baseParameters(scorer), policy: baseParameters(policy), judge: baseParameters(judge) },
    stages: stageCosts(experiment).map((stage, index) => ({
      ...stage,
      hoursAtPeak: hours(stage.flops, device.peakTflops),
      hours: hours(stage.flops, tflops ?? rateOf(like, STAGE_TASKS[index])),
    })),
    storage: storageRows(experiment),
  }
}
