import { expect, test } from '@jest/globals'
import { experimentConfig } from '../../ts/cli/experiment/config.js'
import { planStages, policyTasks, stageConfigs } from '../../ts/cli/experiment/stages.js'
import { ensembleRun, languageModelRun, policyRun, rewardRun } from '../../ts/cli/train/schemas.js'
import { loadConfig } from '../../ts/config/load.js'
import { PPO_PRESETS, ppoSettings } from '../../ts/policy/settings.js'
import { completeConfig, plainConfig } from '../../ts/run/config-file.js'
import { judgeConfigSchema } from '../../ts/study/judge/config.js'
import { PAPER_HEADS } from '../../ts/training/heads.js'
import { PAPER_REWARD } from '../../ts/training/reward.js'
import { headsSettings, rewardSettings } from '../../ts/training/settings.js'

const paper = (set: string[] = []) => loadConfig(experimentConfig, 'configs/paper.yaml', { set })

test('configs/paper.yaml is the tables of the paper', async () => {
  const configs = stageConfigs(await paper(), 'out')
  const reward = rewardRun.parse(configs.reward)
  const { evaluateEvery, steps, activationCheckpointing, shardOptimiser, ...training } = reward.training
  const { activationCheckpointing: _, shardOptimiser: __, ...table2 } = rewardSettings.parse(PAPER_REWARD)
  expect({ training, steps }).toEqual({ training: table2, steps: 4125 })
  const ensemble = ensembleRun.parse(configs.ensemble)
  expect(ensemble.training).toEqual({
    ...headsSettings.parse({ ...PAPER_HEADS, epochs: 1 }),
    evaluateEvery: 500,
    steps: 2060,
  })
  expect(ensemble.data).toEqual(reward.data)
  const vanilla = policyRun.parse(configs['policy-vanilla'])
  expect(vanilla.ppo).toEqual(ppoSettings.parse(PPO_PRESETS['paper-vanilla']))
  const aware = policyRun.parse(configs['policy-variance-aware'])
  expect(aware.ppo).toEqual(ppoSettings.parse(PPO_PRESETS['paper-variance-aware']))
})

test('a configuration that a run stores is read back as it was: nothing is completed twice', async () => {
  const configs = stageConfigs(await paper(), 'out')
  const data = { source: 'texts.jsonl' }
  const training = { batchSize: 1, steps: 1, optimiser: { lr: 1 } }
  const model = { config: 'config.json' }
  for (const [schema, config] of [
    [rewardRun, configs.reward],
    [ensembleRun, configs.ensemble],
    [policyRun, configs['policy-variance-aware']],
    [languageModelRun, { model, data, training }],
  ] as const) {
    const stored = plainConfig(schema.parse(config))
    expect(completeConfig(schema, stored)).toEqual(stored)
    const { device: _, ...older } = stored
    expect(completeConfig(schema, older)).toEqual({ ...older, device: 'cpu' })
  }
})

test('forty policies a method, each stage reading what the one before has written', async () => {
  const config = await paper()
  const configs = stageConfigs(config, 'out')
  expect(configs.ensemble?.model).toBe('out/reward/model')
  expect(policyRun.parse(configs['policy-vanilla']).scorer.model).toEqual({ path: 'out/ensemble/model' })
  const tasks = policyTasks(config, 'out')
  expect(tasks).toHaveLength(80)
  expect(new Set(tasks.map(({ name }) => name)).size).toBe(80)
  const seeds = tasks.map(({ parameters }) => parameters.find((text) => text.startsWith('ppo.seed=')))
  // Methods share the seed of their head and trial; no other two policies do.
  expect(new Set(seeds).size).toBe(40)
  const judge = judgeConfigSchema.parse(configs.judge)
  expect(judge.groups.map(({ name, policies }) => [name, policies.length])).toEqual([
    ['vanilla', 40],
    ['variance-aware', 40],
  ])
  expect(judge.prompts.queryTokens).toEqual({ min: 2, max: 8, inclusive: true })
  const names = planStages(config, 'out').map(({ name }) => name)
  expect(names).toEqual(['theory', 'reward', 'ensemble', 'rewardbench', 'variance', 'policies', 'judge'])
  const shorter = planStages(await paper(['theory=null', 'benchmark=null']), 'out')
  expect(shorter.map(({ name }) => name)).toEqual(['reward', 'ensemble', 'policies', 'judge'])
})
