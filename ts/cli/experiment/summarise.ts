import { join } from 'node:path'
import { systemInfo } from '../../addon/system.js'
import { PrudentError } from '../../errors.js'
import { mean, standardDeviation } from '../../evaluation/describe.js'
import { type MetricsEntry, readMetrics } from '../../run/metrics.js'
import { curveOver } from '../../study/aggregate.js'
import { type ExperimentSummary, experimentSummarySchema } from '../../study/experiment/summary.js'
import { checkedSummary } from '../../study/summary.js'
import type { ExperimentConfig } from './config.js'
import type { Ledger } from './ledger.js'
import type { Crew } from './run.js'
import { folderOf, policyTasks } from './stages.js'

/** From the runs' metrics and what their commands answered. */
export async function summariseExperiment(
  config: ExperimentConfig,
  output: string,
  ledger: Ledger,
  crew: Crew,
): Promise<ExperimentSummary> {
  const reward = await metricsOf(output, 'reward')
  const ensemble = await metricsOf(output, 'ensemble')
  const methods = []
  for (const [name, { lr, beta }] of Object.entries(config.policies.methods)) {
    const tasks = policyTasks(config, output).filter(({ method }) => method === name)
    const runs = await Promise.all(tasks.map((task) => metricsOf(output, task.name)))
    methods.push({ name, lr, beta, policies: runs.length, ...describePolicies(runs) })
  }
  const { heldOutAccuracy } = ledger.result('reward')
  const { lossPerHead, heldOutAccuracyPerHead } = ledger.result('ensemble')
  const summary = {
    kind: 'experiment',
    version: 1,
    name: config.name,
    seed: config.seed,
    reward: { steps: lastStep(reward), heldOutAccuracy: heldOutAccuracy ?? null, loss: lossCurve(reward) },
    ensemble: {
      steps: lastStep(ensemble),
      lossPerHead: lossPerHead ?? [],
      heldOutAccuracyPerHead: heldOutAccuracyPerHead ?? null,
      loss: lossCurve(ensemble),
    },
    methods,
    commands: ledger.commands,
    environment: {
      prudent: systemInfo().prudent,
      node: process.version,
      devices: crew.devices,
      processes: crew.slots.length,
    },
    config,
  }
  return checkedSummary(experimentSummarySchema, summary)
}

async function metricsOf(output: string, name: string): Promise<readonly MetricsEntry[]> {
  const file = join(folderOf(output, name), 'metrics.jsonl')
  const { entries } = await readMetrics(file)
  if (entries.length > 0) return entries
  throw new PrudentError('E_CORRUPT_FILE', `${file}: expected a line a step, received none`, { argument: name })
}

const lastStep = (entries: readonly MetricsEntry[]): number => entries.at(-1)?.step ?? 0

const lossCurve = (entries: readonly MetricsEntry[]) =>
  entries.flatMap(({ step, 'train/loss': loss }) => (loss === undefined ? [] : [{ step, loss }]))

function describePolicies(runs: readonly (readonly MetricsEntry[])[]) {
  const kl = runs.map((entries) => column(entries, 'objective/kl'))
  const proxy = runs.map((entries) => column(entries, 'env/proxy_mean'))
  return {
    lastKl: spread(kl.map((row) => row.at(-1) as number)),
    proxyGain: spread(proxy.map((row) => (row.at(-1) as number) - (row[0] as number))),
    kl: curveOver(kl),
    proxyReward: curveOver(proxy),
  }
}

const column = (entries: readonly MetricsEntry[], name: string): number[] =>
  entries.map((entry) => entry[name] ?? Number.NaN)

const spread = (values: readonly number[]) => ({
  mean: mean(values),
  std: values.length > 1 ? standardDeviation(values) : 0,
})
