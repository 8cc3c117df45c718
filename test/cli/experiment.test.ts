/** `configs/paper.yaml` as it stands, from a server that speaks the hub's API to the report: only sizes are smaller. */
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { experimentQuantities } from '../../ts/report/paper/experiment.js'
import { studyRows } from '../../ts/report/paper/study.js'
import { experimentSummarySchema } from '../../ts/study/experiment/summary.js'
import { paperRepositories } from '../support/hub/repositories.js'
import { HubServer } from '../support/hub-server.js'
import { jsonRows, runCommand } from '../support/run-command.js'

const PAPER = ['--config', 'configs/paper.yaml']
/** The fixtures' models have few positions. */
const LENGTHS = ['reward.data.maxLength=128', 'policies.scorer.maxLength=128', 'judge.maxLength=128']
const SMALL = [
  ...LENGTHS,
  ...['device=cpu', 'processes=2', 'theory.draws=1000', 'theory.dimension=10', 'benchmark.bootstrap=20'],
  ...['reward.training.batchSize=4', 'reward.training.steps=3', 'reward.training.evaluateEvery=2'],
  ...['ensemble.training.batchSize=4', 'ensemble.training.steps=4', 'ensemble.training.heads=3'],
  ...['policies.ppo.batchSize=8', 'policies.ppo.miniBatchSize=4', 'policies.ppo.steps=2'],
  ...['policies.heads=3', 'policies.trials=1', 'judge.responses=6'],
  ...['reward', 'ensemble', 'benchmark', 'judge'].map((stage) => `${stage}.dtype=float32`),
]
const set = (values: readonly string[]) => values.flatMap((value) => ['--set', value])

let folder: string
let server: HubServer
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-experiment-'))
  server = await HubServer.start(await paperRepositories())
})
afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const run = (parameters: string[], environment: Record<string, string> = {}) => {
  const hub = { HF_ENDPOINT: server.endpoint, HF_HUB_CACHE: join(folder, 'hub'), PRUDENT_OFFLINE: '0' }
  return runCommand(parameters, { environment: { ...hub, HF_TOKEN: 'hf_reader', ...environment } })
}
const OFFLINE = { PRUDENT_OFFLINE: '1' }
const nothing = () => ({ ...OFFLINE, HF_HUB_CACHE: join(folder, 'empty') })

describe('before anything is there', () => {
  test('plan knows the sizes of the paper’s models, and puts the paper’s hours beside its own', async () => {
    const parameters = ['plan', ...PAPER, '--gpu', 'a40', '--gpus', '4', '--tflops', '50']
    const { code, stdout, stderr } = await run(parameters, nothing())
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const text of ['“paper”', '51 h, 12.68 GB', '7 h, 6.12 GB', '3.86 h, 18.4 GB', 'scorer 2,506,172,416'])
      expect(stdout).toContain(text)
  })

  test('a model whose sizes nobody knows is named, and steps that are not written', async () => {
    const unknown = await run(['plan', ...PAPER, '--set', 'judge.model=owner/judge'], nothing())
    expect(unknown.code).toBe(1)
    expect(unknown.stderr).toMatch(/E_OFFLINE: judge\.model: owner\/judge: .*prudent download owner\/judge/)
    const epochs = await run(['plan', ...PAPER, '--set', 'policies.ppo={epochs: 1}'], nothing())
    expect(epochs.code).toBe(2)
    expect(epochs.stderr).toContain('policies.ppo.steps')
  })

  test('validate names everything that the cache lacks, each with its key', async () => {
    const { code, stdout } = await run(['validate', ...PAPER, '--json'], nothing())
    expect(code).toBe(1)
    const { kind, findings } = JSON.parse(stdout) as { kind: string; findings: { key: string; code?: string }[] }
    expect(kind).toBe('experiment')
    const missing = findings.flatMap(({ key, code }) => (code === 'E_OFFLINE' ? [key] : []))
    expect(missing).toEqual(
      expect.arrayContaining(['reward.model', 'policies.model', 'judge.model', 'reward.data', 'judge.prompts']),
    )
  })

  test('a GPU is asked for and there is none', async () => {
    const { code, stderr } = await run(['reproduce', ...PAPER, '--output', join(folder, 'gpu')], {
      ...nothing(),
      CUDA_VISIBLE_DEVICES: '',
    })
    expect(code).toBe(1)
    expect(stderr).toMatch(/E_DEVICE: device: expected a GPU \(or --set device=cpu\)/)
  })

  test.each([
    ['policies.heads=11', 'policies.heads: expected at most ensemble.training.heads (10)'],
    ['policies.heads=2', 'policies.heads: expected at least 3'],
    ['policies.methods={}', 'policies.methods: expected at least one method'],
    ['policies.methods={../x: {lr: 1, beta: 1, objective: {kind: vanilla}}}', 'invalid key'],
  ])('--set %s is refused', async (value, message) => {
    const { code, stderr } = await run(['reproduce', ...PAPER, '--set', value, '--output', join(folder, 'refused')])
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })

  test('a study has no commands to print', async () => {
    const { code, stderr } = await run(['reproduce', '--config', 'configs/laptop.yaml', '--commands'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('E_USAGE: --commands') })
  })
})

test('download fetches what it names, and validate finds it whole', async () => {
  const download = await run(['download', ...PAPER])
  expect({ code: download.code, stderr: download.code === 0 ? '' : download.stderr }).toEqual({ code: 0, stderr: '' })
  const names = jsonRows<{ id: string }>(download.stdout).map(({ id }) => id)
  expect([...new Set(names)]).toEqual([
    'google/gemma-2b-it',
    'openai-community/gpt2',
    'sfairXC/FsfairX-LLaMA3-RM-v0.1',
    'weqweasdas/preference_dataset_mix2',
    'allenai/reward-bench',
    'allenai/pref-test-sets',
    'stanfordnlp/imdb',
  ])
  const { code, stdout } = await run(['validate', ...PAPER, ...set(LENGTHS)], OFFLINE)
  expect(stdout).not.toContain('ERROR')
  expect(code).toBe(0)
}, 120_000)

describe('reproduce', () => {
  const output = () => join(folder, 'paper')
  const reproduce = (more: string[] = []) =>
    run(['reproduce', ...PAPER, ...set(SMALL), '--output', output(), ...more], OFFLINE)
  const summary = async () => JSON.parse(await readFile(join(output(), 'summary.json'), 'utf8'))

  test('prints the commands, whose configurations can be run by hand', async () => {
    const { code, stdout } = await reproduce(['--commands'])
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.filter((line) => line.includes('train policy'))).toHaveLength(6)
    expect(lines[1]).toBe(
      `npx prudent train reward --config ${join(output(), 'configs', 'reward.yaml')} --output ${join(output(), 'reward')}`,
    )
    expect(await readdir(join(output(), 'configs'))).toEqual([
      'ensemble.yaml',
      'judge.yaml',
      'policy-vanilla.yaml',
      'policy-variance-aware.yaml',
      'reward.yaml',
    ])
  })

  test('prints commands that a shell reads as they are meant, whatever the folder is called', async () => {
    const named = join(folder, "it's mine; $HOME")
    const { stdout } = await run(['reproduce', ...PAPER, ...set(SMALL), '--output', named, '--commands'], OFFLINE)
    const say = `npx() { for word in "$@"; do printf '%s\\0' "$word"; done; echo; }\n`
    const lines = execFileSync('sh', ['-c', `${say}${stdout}`], { encoding: 'utf8' })
      .trimEnd()
      .split('\n')
    const words = lines.map((line) => line.split('\0').slice(0, -1))
    const train = [
      'train',
      'reward',
      '--config',
      join(named, 'configs', 'reward.yaml'),
      '--output',
      join(named, 'reward'),
    ]
    expect(words[1]).toEqual(['prudent', ...train])
    expect(words).toHaveLength(stdout.trimEnd().split('\n').length)
  })

  test('runs from the hub’s repositories to the report', async () => {
    const { code, stdout, stderr } = await reproduce()
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.trim()).toBe(join(output(), 'report.html'))
    const made = experimentSummarySchema.parse(await summary())
    expect(made.reward).toMatchObject({ steps: 3, loss: [{ step: 1 }, { step: 2 }, { step: 3 }] })
    expect(made.ensemble.lossPerHead).toHaveLength(3)
    expect(made.methods.map(({ name, policies, kl }) => [name, policies, kl.step.length])).toEqual([
      ['vanilla', 3, 2],
      ['variance-aware', 3, 2],
    ])
    expect(made.methods.map(({ beta, lr }) => [beta, lr])).toEqual([
      [0.2, 1.414e-5],
      [0.05, 1.5e-5],
    ])
    expect(made.environment.processes).toBe(2)
    const logs = await readdir(join(output(), 'logs'))
    expect(logs).toEqual(
      expect.arrayContaining(['reward.log', 'reward.rank-1.log', 'ensemble.rank-1.log', 'judge.log']),
    )
    const report = await readFile(stdout.trim(), 'utf8')
    for (const text of ['Figure 10', 'Figure 11', 'Figure 8', 'Figures 7 and 12', 'sfairXC/FsfairX-LLaMA3-RM-v0.1'])
      expect(report).toContain(text)
    const { paper } = JSON.parse(await readFile(join(output(), 'report.json'), 'utf8')) as {
      paper: { item: string; quantity: string; ours: string | null }[]
    }
    const open = paper.flatMap(({ item, quantity, ours }) => (ours === null ? [`${item}: ${quantity}`] : []))
    // What only a study of many ensembles measures by itself: the commands' own rows stand beside it.
    for (const item of ['Table 1', 'Table 2', 'Table 4', 'Table 6', 'Table 7', 'Table 8', 'Figure 7', 'Figure 10'])
      expect(open.filter((text) => text.startsWith(`${item}:`))).toEqual([])
    expect(paper.find(({ item }) => item === 'Table 6')?.ours).toBe('vanilla: batch 8, lr 0.00001414, 2 steps, β 0.200')
  }, 240_000)

  test('a second start finds everything done, another setting is refused by name', async () => {
    const before = await summary()
    const weights = join(output(), 'policies', 'vanilla', 'head-0-trial-0', 'model', 'model.safetensors')
    const { mtimeMs } = await stat(weights)
    const again = await reproduce()
    expect({ code: again.code, stderr: again.code === 0 ? '' : again.stderr }).toEqual({ code: 0, stderr: '' })
    expect((await stat(weights)).mtimeMs).toBe(mtimeMs)
    expect((await summary()).methods).toEqual(before.methods)
    const other = await reproduce(['--set', 'reward.training.optimiser.lr=1.0e-4'])
    expect(other.code).toBe(1)
    expect(other.stderr).toMatch(/E_STATE: prudent train reward: .*training\.optimiser\.lr.*log: .*reward\.log/)
  }, 240_000)
})

test('every quantity that an experiment speaks of is a row of the paper', () => {
  const rows = studyRows(null).map(({ item, quantity }) => `${item}: ${quantity}`)
  expect(rows).toEqual(expect.arrayContaining(experimentQuantities()))
})
