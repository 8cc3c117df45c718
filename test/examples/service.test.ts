import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { judge } from '../../examples/service/abstain.js'
import { type PpoRun, ppo, type StepReport } from '../../examples/service/ppo.js'
import { rerankApp } from '../../examples/service/rerank.js'
import { brevity, metricsApp, trainWhileItHelps } from '../../examples/service/stream-metrics.js'
import { Policy } from '../../ts/index.js'
import { ScoringService } from '../../ts/serve/fastify.js'
import { ENSEMBLE, FILES } from '../service/apps.js'

jest.setTimeout(120_000)

const MODEL = join(FILES, 'gemma-policy')
const PROMPTS = ['good', 'the', 'a good', 'bad the']

describe('best of n by a lower bound', () => {
  test('ranks by mean - lambda * std, beside the plugin’s own routes', async () => {
    await using app = await rerankApp(ENSEMBLE)
    const responses = ['good', 'bad', 'the answer is good', 'a']
    const ask = async (lambda: number) => {
      const answer = await app.inject({ method: 'POST', url: '/best', payload: { prompt: 'the', responses, lambda } })
      return answer.json<{ best: string; ranked: { index: number; mean: number; std: number; bound: number }[] }>()
    }
    const items = { prompt: 'the', response: responses }
    const plain = await app.inject({ method: 'POST', url: '/rewards/score', payload: items })
    const { data } = plain.json<{ data: { uncertainty: { mean: number; std: number } }[] }>()
    for (const lambda of [0, 1, 100]) {
      const { best, ranked } = await ask(lambda)
      const bounds = data.map(({ uncertainty: { mean, std } }) => mean - lambda * std)
      const order = bounds.map((_, index) => index).sort((a, b) => (bounds[b] as number) - (bounds[a] as number))
      expect(ranked.map(({ index }) => index)).toEqual(order)
      expect(best).toBe(responses[order[0] as number])
    }
    // Far out only the spread counts, and it gives another order than the means do.
    expect((await ask(0)).ranked.map(({ index }) => index)).not.toEqual(
      (await ask(100)).ranked.map(({ index }) => index),
    )
    expect(
      (await app.inject({ method: 'POST', url: '/best', payload: { prompt: 'a', responses: [] } })).statusCode,
    ).toBe(400)
  })
})

describe('a judge that abstains', () => {
  test('when the heads’ differences spread more than they lead', async () => {
    await using service = await ScoringService.load(ENSEMBLE, { dtype: 'float32' })
    const pair = { prompt: 'the', a: 'good', b: 'bad' }
    const sure = await judge(service, pair, 0)
    expect(sure.choice).toBe(sure.lead > 0 ? 'A' : 'B')
    expect(await judge(service, pair, (2 * Math.abs(sure.lead)) / sure.spread)).toEqual({ ...sure, choice: 'abstain' })
    const turned = await judge(service, { ...pair, a: 'bad', b: 'good' }, 0)
    expect(turned.choice).not.toBe(sure.choice)
    expect(turned.lead).toBeCloseTo(-sure.lead, 5)
    expect((await judge(service, { ...pair, b: 'good' })).choice).toBe('abstain')
  })
})

describe('PPO by a reward function in TypeScript', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'prudent-example-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))
  const run = (more: Partial<PpoRun> = {}): PpoRun => ({
    ...{ model: MODEL, prompts: PROMPTS, reward: brevity, steps: 3, maxNewTokens: 8, lr: 1e-3, beta: 0 },
    ...more,
  })

  test('calls the function with texts, raises the reward and saves the policy', async () => {
    const asked: (readonly string[])[] = []
    const reward: PpoRun['reward'] = async (prompts, responses) => {
      asked.push(prompts)
      return brevity(prompts, responses)
    }
    const reports: StepReport[] = []
    const saveTo = join(folder, 'policy')
    const prompts = [...PROMPTS, ...PROMPTS, ...PROMPTS, ...PROMPTS]
    for await (const report of ppo(run({ reward, prompts, saveTo, steps: 25, lr: 1e-2 }))) reports.push(report)
    expect(asked).toHaveLength(25)
    expect(asked[0]).toEqual(prompts)
    const [begun, ended] = [reports.slice(0, 5), reports.slice(-5)].map(
      (part) => part.reduce((sum, { meanReward }) => sum + meanReward, 0) / 5,
    ) as [number, number]
    expect(ended).toBeGreaterThan(begun + 0.2)
    const policy = await Policy.load(saveTo)
    expect(policy.info.vocabSize).toBeGreaterThan(0)
    await policy.dispose()
  })

  test('metrics come while it runs, and a reader that leaves ends it', async () => {
    let calls = 0
    const reward: PpoRun['reward'] = (_, responses) => {
      calls += 1
      // Never better than at first.
      return responses.map(() => -calls)
    }
    expect(await trainWhileItHelps(run({ reward, steps: 100 }), 2)).toEqual({ best: -1, steps: 3 })
    expect(calls).toBe(3)
  })

  test('an abort rejects with E_CANCELLED', async () => {
    const stop = new AbortController()
    const reward: PpoRun['reward'] = (_, responses) => {
      stop.abort()
      return responses.map(() => 0)
    }
    const all = async () => {
      for await (const _ of ppo(run({ reward, signal: stop.signal }))) throw new Error('no step can have ended')
    }
    await expect(all()).rejects.toMatchObject({ code: 'E_CANCELLED' })
  })

  test('lines of JSON are served while the training runs', async () => {
    let calls = 0
    const reward: PpoRun['reward'] = (prompts, responses) => {
      calls += 1
      return brevity(prompts, responses)
    }
    await using app = metricsApp({ model: MODEL, prompts: PROMPTS, reward, maxNewTokens: 8 })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const answer = await fetch(`http://127.0.0.1:${port}/train?steps=3`)
    const lines = (await answer.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StepReport)
    expect(lines.map(({ step }) => step)).toEqual([1, 2, 3])
    expect(calls).toBe(3)
  })
})
