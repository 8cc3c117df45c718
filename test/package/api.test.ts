import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import * as errors from '../../ts/errors.js'
import * as prudent from '../../ts/index.js'
import * as policy from '../../ts/policy/index.js'
import * as fastify from '../../ts/serve/fastify.js'
import { repository } from './project.js'

/** What others build on: a name that comes or goes is a decision, and a line of CHANGELOG.md. */
const VALUES = {
  '.': [
    ...['ERROR_CODES', 'FeatureCache', 'HeadsTrainer', 'LanguageModelTrainer', 'PPO_DEFAULTS', 'Policy', 'PpoTrainer'],
    'ProcessGroup',
    ...['PrudentError', 'RewardModel', 'RewardTrainer', 'Rollout', 'ScoreBatcher', 'ScoreBatcherMember', 'Tokenizer'],
    ...['configureExecutor', 'ops', 'readRankEnvironment', 'systemInfo'],
  ],
  './policy': [
    ...['Tokenizer', 'createObjective', 'encodePrompts', 'rewardScorer', 'rewardsOf', 'sigmaOf', 'trainPolicy'],
  ],
  './fastify': ['ScoringService', 'default'],
  './errors': ['ERROR_CODES', 'PrudentError', 'argumentError'],
}

test('the public names', () => {
  const actual = { '.': prudent, './policy': policy, './fastify': fastify, './errors': errors }
  for (const [entry, names] of Object.entries(VALUES)) {
    expect({ entry, names: Object.keys(actual[entry as keyof typeof actual]).sort() }).toEqual({
      entry,
      names: names.sort(),
    })
  }
  const { exports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { exports: object }
  expect(Object.keys(exports)).toEqual([...Object.keys(VALUES), './package.json'])
})

test('every public class and function says what it is', () => {
  const index = readFileSync(join(repository, 'ts', 'index.ts'), 'utf8')
  const files = [...index.matchAll(/from '\.\/([^']+)\.js'/g)].map(([, file]) => join(repository, 'ts', `${file}.ts`))
  const declared = files.map((file) => readFileSync(file, 'utf8')).join('\n')
  const undocumented = VALUES['.'].filter((name) => {
    const at = new RegExp(`(?:^|\\n)([^\\n]*)\\nexport (?:async )?(?:class|function|const) ${name}\\b`).exec(declared)
    return at === null || !/\*\/$/.test((at[1] as string).trim())
  })
  expect(undocumented).toEqual([])
})
