import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import type { NativeModel } from '../../ts/addon/native.js'
import { PPO_DEFAULTS } from '../../ts/addon/ppo-trainer.js'
import { freePort } from '../support/ranks.js'
import { createPolicy, createScorer, rowsOf } from './small-models.js'

const folder = fileURLToPath(new URL('../../../ts/addon/', import.meta.url))
const parts = readdirSync(join(folder, 'native')).map((name) => join('native', name))
const source = ['native.ts', ...parts].map((name) => readFileSync(join(folder, name), 'utf8')).join('\n')

/** Member names of an interface of ts/addon/native.ts and the files of ts/addon/native, those it inherits included. */
function members(name: string): string[] {
  const match = new RegExp(`export interface ${name}(?: extends (\\w+))? \\{\\n([\\s\\S]*?)\\n\\}`).exec(source)
  if (match === null) throw new Error(`no interface ${name}`)
  const own = [...(match[2] as string).matchAll(/^ {2}(\w+)\??[(:]/gm)].map(([, member]) => member as string)
  return [...own, ...(match[1] === undefined ? [] : members(match[1]))].sort()
}

/** Own and prototype members of a native object. */
function actual(object: object): string[] {
  const own = Object.keys(object)
  const inherited = Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter((name) => name !== 'constructor')
  return [...own, ...inherited].sort()
}

const ADAMW = { beta1: 0.9 }
const PPO = { ...PPO_DEFAULTS, ppoEpochs: 1, miniBatchSize: 2, microBatchTokens: 64 }
const SAMPLING = {
  maxNewTokens: 2,
  eosTokenIds: [],
  greedy: true,
  temperature: 1,
  topK: 0,
  topP: 1,
  seed: 0,
  batchTokens: 64,
}

describe('the native surface is what ts/addon/native.ts says', () => {
  const addon = loadAddon()
  let scorer: NativeModel
  let policy: NativeModel

  test('the reader of the types finds members', () => {
    expect(members('NativeCancelToken')).toEqual(['cancel'])
    expect(members('NativeHeadsTrainer')).toEqual(['dispose', 'loadState', 'saveState', 'step', 'weights'])
  })

  test('exports', () => {
    expect(actual({ ...addon }).filter((name) => !(name in Object.prototype))).toEqual(members('NativeAddon'))
    expect(Object.keys(addon.ops).sort()).toEqual(members('NativeOps'))
    expect(actual(addon.createCancelToken())).toEqual(members('NativeCancelToken'))
  })

  test('models and features', async () => {
    scorer = await createScorer()
    policy = await createPolicy()
    const features = await scorer.cacheFeatures(rowsOf([3, 4]), { batchTokens: 16 })
    expect(actual(scorer)).toEqual(members('NativeModel'))
    expect(actual(features)).toEqual(members('NativeFeatureCache'))
    expect(Object.keys(scorer.info()).sort()).toEqual(members('ModelInfo'))
    expect(Object.keys(features.info()).sort()).toEqual(['hidden', 'rows'])
    const heads = await addon.createHeadsTrainer(features, { heads: 1, initial: new Float32Array(24) })
    expect(actual(heads)).toEqual(members('NativeHeadsTrainer'))
  })

  test('trainers and rollouts', async () => {
    await policy.addValueHead(1)
    const reference = await policy.clone()
    expect(actual(await addon.createLanguageModelTrainer(policy, { ...ADAMW, batchTokens: 64 }))).toEqual(
      members('NativeLanguageModelTrainer'),
    )
    expect(actual(await addon.createRewardTrainer(scorer, { ...ADAMW, batchTokens: 64 }))).toEqual(
      members('NativeRewardTrainer'),
    )
    const ppo = await addon.createPpoTrainer(policy, reference, PPO)
    expect(actual(ppo)).toEqual(members('NativePpoTrainer'))
    expect(actual(await ppo.rollout(rowsOf([3, 4]), SAMPLING))).toEqual(members('NativeRollout'))
  })

  test('process groups', async () => {
    const group = await addon.createProcessGroup({ rank: 0, size: 1, address: '127.0.0.1', port: await freePort() })
    expect(actual(group)).toEqual(members('NativeProcessGroup'))
    expect(group.info()).toEqual({ rank: 0, size: 1 })
    expect(Array.from(await group.sum(Float32Array.of(1, 2)))).toEqual([1, 2])
    expect(await group.broadcast('text')).toBe('text')
    await group.leave('done')
    await expect(group.sum(Float32Array.of(1))).rejects.toMatchObject({ code: 'E_DISPOSED' })
    await group.dispose()
  })

  test('systemInfo', () => {
    const info = addon.systemInfo()
    expect(Object.keys(info).sort()).toEqual(members('SystemInfo'))
    expect(info.napi).toBe(8)
    expect(info.prudent).toBe(
      JSON.parse(readFileSync(fileURLToPath(new URL('../../../package.json', import.meta.url)), 'utf8')).version,
    )
    expect(info.libtorch).toMatch(/^2\.\d+\.\d+/)
    // The executor belongs to the process, which another test file may have configured.
    const threads = { lanes: 1, threadsPerLane: info.cpu.cores }
    addon.configureExecutor(threads)
    expect(addon.systemInfo().threads).toEqual(threads)
  })

  test('handles are made by the addon alone, and told apart', async () => {
    const Model = scorer.constructor as new () => unknown
    expect(() => new Model()).toThrow('made by the addon')
    const wrong = policy as unknown as Parameters<typeof addon.createHeadsTrainer>[0]
    await expect(addon.createHeadsTrainer(wrong, { heads: 1, initial: new Float32Array(24) })).rejects.toMatchObject({
      code: 'E_TYPE',
      argument: 'features',
    })
    const forged = Object.create(Object.getPrototypeOf(policy)) as NativeModel
    expect(() => forged.info()).toThrow()
  })
})
