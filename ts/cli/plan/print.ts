import { join } from 'node:path'
import { packageRoot } from '../../addon/places.js'
import { type CostPlan, costMarkdown, type Device } from '../../report/cost-tables.js'
import { type Experiment, studyExperiment } from '../../study/cost/experiment.js'
import { baseParameters } from '../../study/cost/shapes.js'
import { stageCosts, storageRows } from '../../study/cost/stages.js'
import { experimentCost } from '../experiment/cost.js'
import type { PlanOptions } from '../plan.js'
import { loadExperimentOrStudy } from '../support/any-config.js'
import type { Session } from '../support/session.js'

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
  const plan = planOf(experiment, isPaper, options)
  process.stdout.write(options.json ? `${JSON.stringify(plan, null, 2)}\n` : costMarkdown(plan))
}

function planOf(experiment: Experiment, isPaper: boolean, { gpu, gpus, tflops }: PlanOptions): CostPlan {
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
    tokens: experiment.tokens,
    parameters: { scorer: baseParameters(scorer), policy: baseParameters(policy), judge: baseParameters(judge) },
    stages: stageCosts(experiment).map((stage) => ({
      ...stage,
      hoursAtPeak: hours(stage.flops, device.peakTflops),
      hours: hours(stage.flops, tflops),
    })),
    storage: storageRows(experiment),
  }
}
