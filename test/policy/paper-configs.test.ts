import { expect, test } from '@jest/globals'
import { ensembleRun, policyRun, rewardRun } from '../../ts/cli/train/schemas.js'
import { loadConfig } from '../../ts/config/load.js'
import { PPO_PRESETS, ppoSettings } from '../../ts/policy/settings.js'
import { PAPER_HEADS } from '../../ts/training/heads.js'
import { PAPER_REWARD } from '../../ts/training/reward.js'
import { headsSettings, rewardSettings } from '../../ts/training/settings.js'

test('the files in configs/paper are the tables of the paper', async () => {
  const { evaluateEvery: _, ...reward } = (await loadConfig(rewardRun, 'configs/paper/reward.yaml')).training
  expect(reward).toEqual(rewardSettings.parse(PAPER_REWARD))
  const { evaluateEvery: __, ...heads } = (await loadConfig(ensembleRun, 'configs/paper/ensemble.yaml')).training
  expect(heads).toEqual(headsSettings.parse(PAPER_HEADS))
  const vanilla = await loadConfig(policyRun, 'configs/paper/policy-vanilla.yaml')
  expect(vanilla.ppo).toEqual(ppoSettings.parse(PPO_PRESETS['paper-vanilla']))
  const aware = await loadConfig(policyRun, 'configs/paper/policy-variance-aware.yaml', { set: ['scorer.head=7'] })
  expect(aware.ppo).toEqual(ppoSettings.parse(PPO_PRESETS['paper-variance-aware']))
  expect(aware.scorer.head).toBe(7)
})
