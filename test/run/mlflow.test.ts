import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { type MlflowOptions, MlflowTracker } from '../../ts/run/mlflow.js'
import { MlflowServer } from '../support/mlflow-server.js'
import { pythonWith } from '../support/trackers.js'
import { DATA, type TrainRun, train, writeTinyConfig } from '../support/train-runs.js'

let folder: string
let server: MlflowServer
let uri: string
let warnings: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-mlflow-'))
  server = new MlflowServer()
  uri = await server.listen()
  warnings = []
})
afterEach(async () => {
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

const tracker = (more: Partial<MlflowOptions> = {}) =>
  new MlflowTracker({
    uri,
    experiment: 'tests',
    runName: 'a run',
    params: { seed: 1, optimiser: { lr: 1e-3 }, names: ['a', 'b'], left: undefined, long: 'x'.repeat(9000) },
    file: join(folder, 'mlflow.json'),
    warn: (message) => warnings.push(message),
    intervalMs: 5,
    environment: {},
    ...more,
  })

const onlyRun = () => {
  expect(server.runs.size).toBe(1)
  return [...server.runs.values()][0]
}

test('parameters and every finite number arrive, by name and step; the run ends', async () => {
  const own = tracker()
  for (let step = 1; step <= 3; step++)
    own.log({ step, 'train/loss': 1 / step, bad: Number.NaN, worse: Number.POSITIVE_INFINITY })
  await own.end('FINISHED')
  const run = onlyRun()
  expect(run).toMatchObject({ experiment: 'tests', name: 'a run', status: 'FINISHED' })
  expect(run?.params).toEqual({ seed: '1', 'optimiser.lr': '0.001', names: '["a","b"]', long: 'x'.repeat(500) })
  expect(run?.metrics).toEqual({
    'train/loss': [
      [1, 1],
      [2, 0.5],
      [3, 1 / 3],
    ],
  })
  expect(warnings).toEqual([])
})

test('more than a batch holds is sent in several; two runs share an experiment', async () => {
  const both = [tracker(), tracker({ file: join(folder, 'other.json') })]
  for (let step = 1; step <= 2500; step++) both[0]?.log({ step, x: step })
  await Promise.all(both.map((one) => one.end('KILLED')))
  const runs = [...server.runs.values()]
  expect(runs.map((run) => [run.experiment, run.status])).toEqual([
    ['tests', 'KILLED'],
    ['tests', 'KILLED'],
  ])
  const steps = runs.flatMap((run) => run.metrics.x ?? []).map(([step]) => step)
  expect(steps).toEqual(Array.from({ length: 2500 }, (_, i) => i + 1))
})

test('a resumed run goes on in its MLflow run; one that the server has lost begins a new one', async () => {
  const first = tracker()
  first.log({ step: 1, x: 1 })
  await first.end('FAILED')
  const second = tracker()
  second.log({ step: 2, x: 2 })
  await second.end('FINISHED')
  expect(onlyRun()).toMatchObject({
    status: 'FINISHED',
    metrics: {
      x: [
        [1, 1],
        [2, 2],
      ],
    },
  })
  server.runs.clear()
  const third = tracker()
  third.log({ step: 3, x: 3 })
  await third.end('FINISHED')
  expect(onlyRun()).toMatchObject({ metrics: { x: [[3, 3]] } })
  expect(warnings).toEqual([])
})

test('a server that fails for a while costs one warning and no number', async () => {
  server.failures = 3
  const own = tracker()
  for (let step = 1; step <= 5; step++) {
    own.log({ step, x: step })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await own.end('FINISHED')
  expect(onlyRun()?.metrics.x).toHaveLength(5)
  expect(warnings).toEqual([expect.stringContaining('500 INTERNAL_ERROR')])
})

test('no server at all: one warning that says why, and the end comes', async () => {
  await server.close()
  const own = tracker()
  for (let step = 1; step <= 3; step++) {
    own.log({ step, x: step })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await own.end('FINISHED')
  expect(warnings).toEqual([expect.stringMatching(/^MLflow at http.*ECONNREFUSED.*training goes on$/)])
})

test.each([
  [{ MLFLOW_TRACKING_TOKEN: 'secret' }, 'Bearer secret'],
  [{ MLFLOW_TRACKING_USERNAME: 'a', MLFLOW_TRACKING_PASSWORD: 'b' }, `Basic ${Buffer.from('a:b').toString('base64')}`],
])('credentials of the environment %j', async (environment, expected) => {
  const own = tracker({ environment })
  own.log({ step: 1, x: 1 })
  await own.end('FINISHED')
  expect(new Set(server.requests.map((request) => request.authorization))).toEqual(new Set([expected]))
})

describe('prudent train', () => {
  async function run(uri: string, name: string): Promise<TrainRun> {
    await writeTinyConfig(join(folder, 'gpt2.json'), 'gpt2')
    const config = {
      model: { config: join(folder, 'gpt2.json'), seed: 3 },
      tokenizer: `${DATA}/tokenizers/policy`,
      data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 60 }, maxLength: 32 },
      training: { batchSize: 4, steps: 6, optimiser: { lr: 3e-3 } },
      dtype: 'float32',
      tracking: { mlflow: { uri, experiment: 'train' } },
    }
    return { kind: 'language-model', folder: join(folder, name), config }
  }

  test('sends what metrics.jsonl holds', async () => {
    const own = await run(uri, 'tracked')
    expect(await train(own)).toMatchObject({ code: 0 })
    const lines = (await readFile(join(own.folder, 'metrics.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const tracked = onlyRun()
    expect(tracked).toMatchObject({ name: 'tracked', status: 'FINISHED' })
    expect(tracked?.metrics['train/loss']).toEqual(lines.map((line) => [line.step, line['train/loss']]))
    expect(tracked?.params['training.batchSize']).toBe('4')
  }, 60_000)

  test('is not hurt by a server that is away, and the result is the same to the last bit', async () => {
    const [own, away] = [await run(uri, 'near'), await run('http://127.0.0.1:9', 'away')]
    expect(await train(own)).toMatchObject({ code: 0 })
    const result = await train(away)
    expect(result.code).toBe(0)
    expect(result.stderr.match(/warning: MLflow/g)).toHaveLength(1)
    const weights = (at: TrainRun) => readFile(join(at.folder, 'model', 'model.safetensors'))
    expect((await weights(away)).equals(await weights(own))).toBe(true)
  }, 60_000)

  test('refuses a password in the address, which config.yaml would keep', async () => {
    const own = await run('http://me:secret@127.0.0.1:9', 'refused')
    const result = await train(own)
    expect(result.code).toBe(2)
    expect(result.stderr).toContain('tracking.mlflow.uri')
    expect(result.stderr).toContain('MLFLOW_TRACKING_USERNAME')
  }, 60_000)
})

const python = pythonWith('mlflow')
const describeWithServer = python === null ? describe.skip : describe

describeWithServer("MLflow's own server", () => {
  let store: string
  let child: ChildProcess
  let real: string
  beforeAll(async () => {
    store = await mkdtemp(join(tmpdir(), 'prudent-mlflow-server-'))
    const port = await freePort()
    real = `http://127.0.0.1:${port}`
    const backend = [
      '--backend-store-uri',
      `sqlite:///${store}/mlflow.db`,
      '--artifacts-destination',
      join(store, 'artifacts'),
    ]
    const parameters = [
      '-m',
      'mlflow',
      'server',
      ...backend,
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--workers',
      '1',
    ]
    child = spawn(python as string, parameters, { cwd: store, stdio: 'ignore', detached: true })
    for (let attempt = 0; attempt < 600; attempt++) {
      if (
        await fetch(`${real}/health`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        return
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    throw new Error('the server did not come up')
  }, 150_000)
  afterAll(async () => {
    // The server is several processes, in a group of their own.
    process.kill(-(child.pid as number), 'SIGTERM')
    await rm(store, { recursive: true, force: true, maxRetries: 5 })
  })

  test('keeps parameters, numbers and status, a resumed run included', async () => {
    for (const [steps, status] of [
      [[1, 2], 'KILLED'],
      [[3], 'FINISHED'],
    ] as const) {
      const own = tracker({ uri: real })
      for (const step of steps) own.log({ step, 'train/loss': 1 / step, bad: Number.NaN })
      await own.end(status)
    }
    expect(warnings).toEqual([])
    const { run_id } = JSON.parse(await readFile(join(folder, 'mlflow.json'), 'utf8')) as { run_id: string }
    const get = async (path: string) => (await fetch(`${real}/api/2.0/mlflow/${path}`)).json() as Promise<never>
    const { run } = (await get(`runs/get?run_id=${run_id}`)) as {
      run: { info: { status: string }; data: { params: { key: string; value: string }[] } }
    }
    expect(run.info.status).toBe('FINISHED')
    expect(run.data.params).toContainEqual({ key: 'optimiser.lr', value: '0.001' })
    const history = (await get(`metrics/get-history?run_id=${run_id}&metric_key=train/loss`)) as {
      metrics: { step: number | string; value: number }[]
    }
    expect(history.metrics.map(({ step, value }) => [Number(step), value])).toEqual([
      [1, 1],
      [2, 0.5],
      [3, 1 / 3],
    ])
  }, 60_000)
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}
