import { describe, expect, test } from '@jest/globals'
import { ProcessGroup, readRankEnvironment } from '../../ts/addon/process-group.js'
import { freePort } from '../support/ranks.js'

const TORCHRUN = {
  ...{
    RANK: '3',
    WORLD_SIZE: '8',
    LOCAL_RANK: '1',
    LOCAL_WORLD_SIZE: '2',
    MASTER_ADDR: 'node-0',
    MASTER_PORT: '29500',
  },
  ...{ TORCHELASTIC_USE_AGENT_STORE: 'True', TORCHELASTIC_RESTART_COUNT: '4' },
}

describe('readRankEnvironment', () => {
  test('what torchrun sets', () => {
    expect(readRankEnvironment(TORCHRUN)).toEqual({
      ...{ rank: 3, size: 8, localRank: 1, localSize: 2, address: 'node-0', port: 29500 },
      ...{ launcherHoldsStore: true, attempt: '4' },
    })
  })

  test('a process that is alone', () => {
    expect(readRankEnvironment({})).toBeNull()
    expect(readRankEnvironment({ WORLD_SIZE: '1', RANK: '0' })).toBeNull()
  })

  test('the least that a launcher must set', () => {
    const least = { WORLD_SIZE: '2', RANK: '0', MASTER_ADDR: 'a', MASTER_PORT: '1' }
    expect(readRankEnvironment(least)).toMatchObject({
      localRank: 0,
      localSize: 1,
      launcherHoldsStore: false,
      attempt: '0',
    })
    for (const name of ['RANK', 'MASTER_ADDR', 'MASTER_PORT']) {
      expect(() => readRankEnvironment({ ...least, [name]: undefined })).toThrow(
        expect.objectContaining({ code: 'E_CONFIG', argument: name }),
      )
    }
  })

  test.each([
    { WORLD_SIZE: 'two' },
    { WORLD_SIZE: '0' },
    { RANK: '8' },
    { RANK: '-1' },
    { MASTER_PORT: '70000' },
    { LOCAL_RANK: '1.5' },
  ])('%j', (wrong) => {
    expect(() => readRankEnvironment({ ...TORCHRUN, ...wrong })).toThrow(
      expect.objectContaining({ code: 'E_CONFIG', argument: Object.keys(wrong)[0] }),
    )
  })
})

test('ranks that cannot be, and a meeting that does not happen', async () => {
  const options = { size: 2, address: '127.0.0.1', port: await freePort(), timeoutSeconds: 1 }
  await expect(ProcessGroup.connect({ ...options, rank: 2 })).rejects.toMatchObject({
    code: 'E_RANGE',
    argument: 'RANK',
  })
  await expect(ProcessGroup.connect({ ...options, rank: 0 })).rejects.toMatchObject({
    code: 'E_DISTRIBUTED',
    expected: 'all 2 ranks to meet there (MASTER_ADDR, MASTER_PORT)',
  })
})
