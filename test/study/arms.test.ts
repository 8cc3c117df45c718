import { expect, test } from '@jest/globals'
import { loadConfig } from '../../ts/config/load.js'
import { type StudyConfig, studyConfigSchema } from '../../ts/study/config.js'
import { armOf, planStudy, powerOf } from '../../ts/study/plan.js'
import { objectiveOf } from '../../ts/study/policy-unit.js'
import { METHODS, type Method } from '../../ts/study/summary.js'

const configOf = (name: string, set: string[] = []): Promise<StudyConfig> =>
  loadConfig(studyConfigSchema, `configs/${name}.yaml`, { set })

const objective = (config: StudyConfig, method: Method) =>
  objectiveOf({ ...armOf('anchored', method, 'reference'), recipe: 'anchored', method, ensembles: 1 }, config, 0.25)

const sigma = { power: 'std', ddof: 1, center: 'reference', shuffle: false }
test.each<[Method, object]>([
  ['vanilla', { kind: 'vanilla', klGradient: 'reward' }],
  ['sigma', { kind: 'variance-kl', klGradient: 'reward', sigma }],
  ['sigma-variance', { kind: 'variance-kl', klGradient: 'reward', sigma: { ...sigma, power: 'variance' } }],
  ['sigma-exact', { kind: 'variance-kl', klGradient: 'exact', sigma }],
  ['shuffled', { kind: 'variance-kl', klGradient: 'reward', sigma: { ...sigma, shuffle: true } }],
  ['constant', { kind: 'variance-kl', klGradient: 'reward', sigma: { ...sigma, constant: 0.25 } }],
  ['mean', { kind: 'mean', klGradient: 'reward' }],
  ['worst', { kind: 'worst', klGradient: 'reward' }],
  ['mean-variance', { kind: 'mean-variance', klGradient: 'reward', lambda: 0.5, sigma }],
  ['lcb', { kind: 'lcb', klGradient: 'reward', k: 2, sigma }],
])('%s is the objective of its name', async (method, expected) => {
  const config = await configOf('laptop', ['objective.lcbK=2', 'objective.varianceLambda=0.5'])
  expect(objective(config, method)).toEqual(expected)
})

test('no two methods are one objective, and sigma-variance alone counts beta in sigma squared', async () => {
  const config = await configOf('laptop')
  expect(new Set(METHODS.map((method) => JSON.stringify(objective(config, method)))).size).toBe(METHODS.length)
  expect(METHODS.filter((method) => powerOf(method, config) === 'variance')).toEqual(['sigma-variance'])
})

test('fewer heads than variances can be compared of are refused before anything is trained', async () => {
  const set = ['layout.ensembles=1', 'layout.heads=2']
  await expect(configOf('laptop', set)).rejects.toMatchObject({
    code: 'E_CONFIG',
    message: expect.stringMatching(/comparisons\.0.*at least 3 reward heads.*there are 2/),
  })
  expect((await configOf('laptop', ['layout.ensembles=1', 'layout.heads=3'])).layout.heads).toBe(3)
})

test('laptop-full.yaml is the world of laptop.yaml with every method and a hundred policies of each', async () => {
  const [full, usual] = [await configOf('laptop-full'), await configOf('laptop')]
  const shared = ({ name, layout, comparisons, calibration, heads, ...rest }: StudyConfig) => {
    const { layers, laplace, dropout, ...both } = heads
    return { ...rest, heads: both, calibration: { ...calibration, refinements: null } }
  }
  expect(shared(full)).toEqual(shared(usual))
  const { arms, policies, comparisons } = planStudy(full)
  const primary = comparisons[0]
  const ofPrimary = arms.filter((arm) => arm.id === primary?.baseline || primary?.treatments.includes(arm.id))
  expect(new Set(ofPrimary.map((arm) => arm.method))).toEqual(new Set(METHODS))
  for (const arm of ofPrimary) expect(policies.filter((policy) => policy.arm === arm.id)).toHaveLength(100)
})
