/** An experiment as the commands that a person would type, one after the other, and the configurations that they read. */
import { join } from 'node:path'
import type { PlainConfig } from '../../run/config-file.js'
import { policySeed } from '../../study/plan.js'
import type { ExperimentConfig } from './config.js'

/** One `prudent` command. */
export interface Task {
  /** Of its log and of its line in summary.json: `policies/vanilla/head-0-trial-0`. */
  name: string
  parameters: readonly string[]
  /** Several processes may do it together, as ranks. */
  ranked?: boolean
}

/** Tasks that do not need each other. */
export interface Stage {
  name: string
  tasks: readonly Task[]
}

export interface PolicyTask extends Task {
  method: string
  head: number
  trial: number
}

/** Folder of a task's results. */
export const folderOf = (output: string, name: string): string => join(output, name)
const configFile = (output: string, name: string): string => join(output, 'configs', `${name}.yaml`)

/** Configurations by the name of their file. */
export function stageConfigs(config: ExperimentConfig, output: string): Record<string, PlainConfig> {
  const { device, reward, ensemble, judge } = config
  const rewardModel = join(folderOf(output, 'reward'), 'model')
  return {
    reward: { task: 'reward', ...reward, device },
    ensemble: { task: 'ensemble', model: rewardModel, ...ensemble, device },
    ...Object.fromEntries(
      Object.keys(config.policies.methods).map((method) => [`policy-${method}`, policyConfig(config, output, method)]),
    ),
    judge: {
      name: config.name,
      seed: config.seed,
      device,
      dtype: judge.dtype,
      judge: { model: judge.model, tokenizer: judge.tokenizer, maxLength: judge.maxLength },
      reference: config.policies.reference ?? config.policies.model,
      tokenizer: config.policies.tokenizer,
      groups: Object.keys(config.policies.methods).map((name) => ({
        name,
        policies: policyTasks(config, output)
          .filter(({ method }) => method === name)
          .map((task) => ({ path: join(folderOf(output, task.name), 'model'), head: task.head })),
      })),
      prompts: { ...config.policies.prompts, ...judge.prompts },
      responses: judge.responses,
      batchTokens: judge.batchTokens,
      sampling: config.policies.ppo.sampling,
    },
  }
}

function policyConfig(config: ExperimentConfig, output: string, name: string): PlainConfig {
  const { methods, heads, trials, scorer, ppo, ...run } = config.policies
  const { lr, beta, objective } = methods[name] as ExperimentConfig['policies']['methods'][string]
  return {
    task: 'policy',
    ...run,
    scorer: { model: join(folderOf(output, 'ensemble'), 'model'), ...scorer },
    ppo: {
      ...ppo,
      optimiser: { ...ppo.optimiser, lr },
      kl: { ...ppo.kl, initial: beta },
      objective,
    },
    device: config.device,
  }
}

/** Head by head, so that a study that is broken off has all methods of the heads that it has. */
export function policyTasks(config: ExperimentConfig, output: string): PolicyTask[] {
  const { methods, heads, trials } = config.policies
  const tasks: PolicyTask[] = []
  for (let trial = 0; trial < trials; trial += 1)
    for (let head = 0; head < heads; head += 1)
      for (const method of Object.keys(methods)) {
        const name = `policies/${method}/head-${head}-trial-${trial}`
        // The same for all methods: they share prompts and random numbers.
        const seed = policySeed(config.seed, 0, head, trial)
        const set = [`scorer.head=${head}`, `ppo.seed=${seed}`, `valueHeadSeed=${seed}`]
        const parameters = [
          ...trainParameters('policy', configFile(output, `policy-${method}`), folderOf(output, name)),
          ...set.flatMap((text) => ['--set', text]),
        ]
        tasks.push({ name, parameters, method, head, trial })
      }
  return tasks
}

const trainParameters = (kind: string, config: string, output: string): string[] => [
  ...['train', kind, '--config', config, '--output', output],
]

export function planStages(config: ExperimentConfig, output: string): Stage[] {
  const train = (kind: 'reward' | 'ensemble'): Stage => ({
    name: kind,
    tasks: [
      { name: kind, parameters: trainParameters(kind, configFile(output, kind), folderOf(output, kind)), ranked: true },
    ],
  })
  const judging = ['judge', '--config', configFile(output, 'judge'), '--output', folderOf(output, 'judge')]
  return [
    ...theoryStage(config, output),
    train('reward'),
    train('ensemble'),
    ...benchmarkStage(config, output),
    { name: 'policies', tasks: policyTasks(config, output) },
    { name: 'judge', tasks: [{ name: 'judge', parameters: judging }] },
  ]
}

function theoryStage({ theory, seed }: ExperimentConfig, output: string): Stage[] {
  if (theory === null) return []
  const { draws, dimension } = theory
  const set = ['--seed', seed, '--draws', draws, '--dimension', dimension]
  const parameters = ['theory', '--output', folderOf(output, 'theory'), ...set.map(String)]
  return [{ name: 'theory', tasks: [{ name: 'theory', parameters }] }]
}

function benchmarkStage({ benchmark, device, name, seed }: ExperimentConfig, output: string): Stage[] {
  if (benchmark === null) return []
  const { data, priorSets, maxLength, bootstrap, dtype } = benchmark
  const model = (of: string) => join(folderOf(output, of), 'model')
  const shared = (to: string) => [
    ...['--model', model('ensemble'), '--data', data, ...(priorSets ? ['--prior-sets', priorSets] : [])],
    ...['--output', folderOf(output, to), '--scores', folderOf(output, 'scored')],
    ...['--dtype', dtype, '--device', device === 'cuda' ? 'cuda:0' : device, '--max-length', String(maxLength)],
  ]
  const bench = ['evaluate', 'rewardbench', ...shared('rewardbench'), '--single', model('reward'), '--name', name]
  const resamples = ['--bootstrap', String(bootstrap), '--seed', String(seed)]
  // One after the other: the second finds the scores of the first.
  return [
    { name: 'rewardbench', tasks: [{ name: 'rewardbench', parameters: bench }] },
    {
      name: 'variance',
      tasks: [{ name: 'variance', parameters: ['evaluate', 'variance', ...shared('variance'), ...resamples] }],
    },
  ]
}
