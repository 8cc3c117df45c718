/** `prudent download` and `prudent validate` against a server that speaks the hub's API. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { paperRepositories } from '../support/hub/repositories.js'
import { HubServer } from '../support/hub-server.js'
import { jsonRows, runCommand } from '../support/run-command.js'

let folder: string
let server: HubServer

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-hub-commands-'))
  server = await HubServer.start(await paperRepositories())
})
afterEach(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

const run = (parameters: string[], environment: Record<string, string> = {}) => {
  const hub = { HF_ENDPOINT: server.endpoint, HF_HUB_CACHE: folder, PRUDENT_OFFLINE: '0', HF_TOKEN: 'hf_reader' }
  return runCommand(parameters, { environment: { ...hub, ...environment } })
}
const config = async (text: string) => {
  const file = join(folder, 'config.yaml')
  await writeFile(file, text)
  return file
}
/** What `prudent reproduce --config configs/paper.yaml --commands` writes for one of its commands. */
const paperStage = async (name: string) => {
  const output = join(folder, 'paper')
  await runCommand(['reproduce', '--config', 'configs/paper.yaml', '--output', output, '--commands'])
  return join(output, 'configs', `${name}.yaml`)
}
interface Line {
  id: string
  type: string
  revision: string
  files: number
  bytes: number
  folder: string
  names?: string[]
}

describe('download', () => {
  test('a model and a data set by their ids, again without a byte, and offline from the cache', async () => {
    const ids = ['google/gemma-2b-it', 'allenai/reward-bench']
    const { code, stdout } = await run(['download', ...ids])
    expect(code).toBe(0)
    const [model, data] = jsonRows<Line>(stdout) as [Line, Line]
    expect(model).toMatchObject({ type: 'model', revision: '96988410cbdaeb8d5093d1ebdc5a8fb563e02bad', files: 8 })
    expect(data).toMatchObject({ type: 'dataset', files: 3 })
    expect(await readdir(model.folder)).toContain('model.safetensors.index.json')
    server.requests.length = 0
    expect((await run(['download', ...ids])).stdout).toBe(stdout)
    expect(server.requests.filter(({ path }) => path.includes('/resolve/') || path.startsWith('/lfs/'))).toEqual([])
    server.requests.length = 0
    const offline = await run(['download', ...ids], { HF_HUB_OFFLINE: '1' })
    expect(jsonRows<Line>(offline.stdout)).toEqual([model, data])
    expect(server.requests).toEqual([])
  }, 60_000)

  test('a revision, patterns, and only to say what would be fetched', async () => {
    const id = 'openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e'
    const { stdout } = await run(['download', id, '--include', '*.json', '--include', 'onnx/*.json', '--dry-run'])
    const [line] = jsonRows<Line>(stdout)
    expect(line?.names).toEqual([
      'config.json',
      'generation_config.json',
      'onnx/config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'vocab.json',
    ])
    expect(await readdir(folder)).toEqual([])
  })

  test("all that the paper's policy names", async () => {
    const { code, stdout } = await run([
      'download',
      '--config',
      await paperStage('policy-vanilla'),
      '--set',
      'scorer.model=sfairXC/FsfairX-LLaMA3-RM-v0.1',
    ])
    expect(code).toBe(0)
    const lines = jsonRows<Line>(stdout)
    expect(lines.map(({ id, type }) => `${type} ${id}`)).toEqual([
      'model openai-community/gpt2',
      'model sfairXC/FsfairX-LLaMA3-RM-v0.1',
      'dataset stanfordnlp/imdb',
    ])
    // Of the data set, the split that is used.
    expect((await readdir(join(lines[2]?.folder ?? '', 'plain_text'))).join()).toBe('train-00000-of-00001.parquet')
  })

  test('what cannot be had', async () => {
    const cases: [string[], Record<string, string>, string, string][] = [
      [['download', 'google/gemma-2b-it'], { HF_TOKEN: 'hf_other' }, 'E_HUB', 'accept the licence on'],
      [['download', 'owner/none'], {}, 'E_NOT_FOUND', 'no such repository'],
      [['download', 'owner/pickled'], {}, 'E_UNSUPPORTED', 'convert-weights.py'],
      [['download', '../etc/passwd'], {}, 'E_USAGE', 'expected a hub id'],
      [['download', 'stanfordnlp/imdb', '--include', '*.csv'], {}, 'E_NOT_FOUND', 'no file matches'],
      [['download', 'runs/mistyped'], {}, 'E_NOT_FOUND', 'nor is there a folder runs/mistyped here'],
      [['download', 'runs/mistyped'], { HF_HUB_OFFLINE: '1' }, 'E_OFFLINE', 'nor is there a folder runs/mistyped here'],
      [['download'], {}, 'E_USAGE', 'nothing to download'],
      [['download', '--config', 'configs/laptop.yaml', '--as', 'foo'], {}, 'E_USAGE', 'experiment, sources'],
    ]
    for (const [parameters, environment, code, message] of cases) {
      const { stderr, code: exit } = await run(parameters, environment)
      expect(stderr).toContain(code)
      expect(stderr).toContain(message)
      expect(exit).toBe(code === 'E_USAGE' ? 2 : 1)
    }
  }, 60_000)
})

test('the token is in no output', async () => {
  const token = { HF_TOKEN: 'hf_very_secret', HUGGING_FACE_HUB_TOKEN: 'hf_very_secret', PRUDENT_DEBUG: '1' }
  const outputs = await Promise.all([
    run(['doctor'], token),
    run(['download', 'google/gemma-2b-it'], token),
    run(['download', 'owner/none'], token),
  ])
  expect(server.requests.some(({ authorization }) => authorization === 'Bearer hf_very_secret')).toBe(true)
  for (const { stdout, stderr } of outputs) expect(stdout + stderr).not.toContain('very_secret')
}, 60_000)

interface Finding {
  level: string
  key: string
  message: string
  code?: string
}
const validate = async (parameters: string[], environment: Record<string, string> = {}) => {
  const { code, stdout, stderr } = await run(['validate', '--json', ...parameters], environment)
  if (stdout === '') throw new Error(stderr)
  const { kind, findings } = JSON.parse(stdout) as { kind: string; findings: Finding[] }
  return { code, kind, findings, errors: findings.filter(({ level }) => level === 'error') }
}

describe('validate', () => {
  test("the paper's reward model: gated weights are checked by their headers alone", async () => {
    const { code, kind, findings } = await validate([
      '--config',
      await paperStage('reward'),
      '--set',
      'data.maxLength=256',
    ])
    expect({ code, kind }).toEqual({ code: 0, kind: 'reward' })
    const text = findings.map(({ key, message }) => `${key}: ${message}`).join('\n')
    expect(text).toMatch(
      /model: google\/gemma-2b-it: gemma, \d+ parameters, 2 layers of 24, vocabulary 528, 512 positions; /,
    )
    expect(text).toMatch(/tokenizer of 520 tokens, a chat template/)
    expect(text).toMatch(/data: .*train-00000-of-00003\.parquet.*36 used/)
    const weights = server.requests.filter(({ path }) => path.startsWith('/lfs/') && path.includes('safetensors'))
    expect(weights.length).toBeGreaterThan(0)
    expect(weights.every(({ range }) => range !== undefined)).toBe(true)
  }, 60_000)

  test("the paper's policy: lengths, heads, device, room", async () => {
    const scorer = ['--set', 'scorer.model=sfairXC/FsfairX-LLaMA3-RM-v0.1', '--set', 'scorer.maxLength=512']
    const policy = ['--config', await paperStage('policy-variance-aware'), ...scorer]
    const good = await validate([...policy, '--output', join(folder, 'run')])
    expect(good.errors).toEqual([])
    expect(good.findings.map(({ key }) => key)).toEqual(expect.arrayContaining(['device', 'output', 'prompts']))
    const wrong = ['--set', 'scorer.head=3', '--set', 'ppo.sampling.maxNewTokens=60', '--output', '/proc/nowhere/run']
    const bad = await validate([...policy, ...wrong, '--set', 'prompts.column=review'])
    expect(bad.code).toBe(1)
    expect(bad.errors.map(({ key, code }) => `${key} ${code}`).sort()).toEqual([
      'output E_IO',
      'prompts E_NOT_FOUND',
      'prompts.queryTokens.max + ppo.sampling.maxNewTokens E_TOO_LONG',
      'scorer.head E_RANGE',
    ])
  }, 60_000)

  test('every problem at once, each with its key', async () => {
    const file = await config(
      [
        'task: ensemble',
        'model: openai-community/gpt2',
        'tokenizer: google/gemma-2b-it',
        'data: { source: { path: weqweasdas/preference_dataset_mix2, split: validation } }',
        'training: { batchSize: 4, optimiser: { lr: 1.0e-3 } }',
      ].join('\n'),
    )
    const { errors } = await validate(['--config', file])
    const found = errors.map(({ key, code, message }) => `${key} ${code} ${message}`)
    expect(found).toHaveLength(3)
    expect(found[0]).toMatch(/^model E_MISSING_TENSOR openai-community\/gpt2: .*score\.weight/)
    expect(found[1]).toMatch(/^model E_SHAPE .*520 tokens.*400/)
    expect(found[2]).toMatch(/^data E_NOT_FOUND .*no split "validation"; there is train/)
  }, 60_000)

  test('weights that do not fit their config, a vocabulary and rows that are too long', async () => {
    const { code } = await run(['download', 'sfairXC/FsfairX-LLaMA3-RM-v0.1'])
    expect(code).toBe(0)
    const root = join(folder, 'models--sfairXC--FsfairX-LLaMA3-RM-v0.1')
    const snapshot = join(root, 'snapshots', (await readdir(join(root, 'snapshots')))[0] as string)
    const changed = join(folder, 'changed')
    await cp(snapshot, changed, { recursive: true, dereference: true })
    const json = JSON.parse(await readFile(join(changed, 'config.json'), 'utf8'))
    const text = (model: string) =>
      `model: ${model}\ndata: { source: weqweasdas/preference_dataset_mix2 }\ntraining: { batchSize: 4, optimiser: { lr: 1.0e-3 } }\n`
    await writeFile(join(changed, 'config.json'), JSON.stringify({ ...json, intermediate_size: 56 }))
    const shape = await validate(['--config', await config(text(changed)), '--as', 'reward'])
    expect(shape.errors).toMatchObject([{ key: 'model', code: 'E_SHAPE', message: expect.stringContaining(changed) }])
    await writeFile(join(changed, 'config.json'), JSON.stringify({ ...json, max_position_embeddings: 16 }))
    const long = await validate(['--config', await config(text(changed)), '--as', 'reward'])
    expect(long.errors).toMatchObject([{ key: 'data', code: 'E_TOO_LONG' }])
  }, 60_000)

  test("the laptop's study, on files of this machine", async () => {
    const { code, kind, errors } = await validate(['--config', 'configs/laptop.yaml'], { PRUDENT_OFFLINE: '1' })
    expect({ code, kind, errors }).toEqual({ code: 0, kind: 'study', errors: [] })
    expect(server.requests).toEqual([])
  }, 60_000)

  test('the comparison of sources, of a model and of none', async () => {
    const random = await validate(['--config', 'configs/sources-gemma-shaped.yaml'])
    expect(random).toMatchObject({ code: 0, kind: 'sources', errors: [] })
    const file = await config(
      'model: ./none\ndata: { source: ./none.jsonl }\ntraining: { batchSize: 4, optimiser: { lr: 1.0e-3 } }\n',
    )
    const { errors } = await validate(['--config', file, '--as', 'sources'])
    expect(errors).toMatchObject([
      { key: 'model', code: 'E_NOT_FOUND' },
      { key: 'data', code: 'E_NOT_FOUND' },
    ])
  }, 60_000)

  test('a file that could be of several kinds', async () => {
    const file = await config(
      'model: a/b\ndata: { source: a/b }\ntraining: { batchSize: 4, optimiser: { lr: 1.0e-3 } }\n',
    )
    const { code, stderr } = await run(['validate', '--config', file])
    expect(code).toBe(2)
    expect(stderr).toMatch(/may be a configuration of .*reward, ensemble.*--as/)
  })
})
