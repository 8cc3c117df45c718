import { loadConfig } from '../../config/load.js'
import { type CostPlan, costMarkdown, type Device } from '../../report/cost-tables.js'
import { studyConfigSchema } from '../../study/config.js'
import { type Experiment, paperExperiment, studyExperiment } from '../../study/cost/experiment.js'
import { baseParameters } from '../../study/cost/shapes.js'
import { stageCosts, storageRows } from '../../study/cost/stages.js'
import type { PlanOptions } from '../plan.js'
import type { Session } from '../support/session.js'

/** Makers' dense bf16 peaks (TFLOP/s) and memory (GB of 10^9 bytes). */
const GPUS: Readonly<Record<string, { peakTflops: number; memory: number }>> = {
  a40: { peakTflops: 149.7, memory: 48e9 },
  a100: { peakTflops: 312, memory: 80e9 },
  h100: { peakTflops: 989, memory: 80e9 },
  h200: { peakTflops: 989, memory: 141e9 },
}

/** `prudent plan`. */
export async function printPlan(_session: Session, options: PlanOptions): Promise<void> {
  const plan = planOf(await experimentOf(options), options)
  process.stdout.write(options.json ? `${JSON.stringify(plan, null, 2)}\n` : costMarkdown(plan))
}

async function experimentOf({ config, set, sideTokens }: PlanOptions): Promise<Experiment> {
  if (config === undefined) return paperExperiment(sideTokens)
  return studyExperiment(await loadConfig(studyConfigSchema, config, { set }))
}

function planOf(experiment: Experiment, { config, gpu, gpus, tflops }: PlanOptions): CostPlan {
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
    isPaper: config === undefined,
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
