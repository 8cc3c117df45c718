/** The repositories of the paper, from the hub to a score: layouts, splits, columns, names of tensors. */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Policy } from '../../ts/addon/policy.js'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { resolveModel } from '../../ts/data/model-files.js'
import { readPairs, tokenisePairs } from '../../ts/data/preferences.js'
import { type DataSource, readSource } from '../../ts/data/sources.js'
import { readTexts } from '../../ts/data/texts.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'
import { readBenchmark, readPriorSets } from '../../ts/evaluation/benchmark/rows.js'
import { paperRepositories } from '../support/hub/repositories.js'
import { HubServer } from '../support/hub-server.js'
import { readSafetensorsHeader } from '../support/safetensors-header.js'

let cacheFolder: string
let server: HubServer
const hub = () => ({ cacheFolder, endpoint: server.endpoint, offline: false, retryDelay: 5, token: 'hf_reader' })
const cpu = { dtype: 'float32', device: 'cpu' } as const

beforeAll(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), 'prudent-paper-'))
  server = await HubServer.start(await paperRepositories())
})
afterAll(async () => {
  await server.stop()
  await rm(cacheFolder, { recursive: true, force: true })
})

const rowsOf = async (source: DataSource) => {
  const rows = []
  for await (const row of readSource(source, undefined, hub())) rows.push(row.values)
  return rows
}

test('the same bytes are made each time', async () => {
  const digest = async () => {
    const hash = createHash('sha256')
    for (const { name, files } of await paperRepositories())
      for (const [path, { content }] of Object.entries(files)) hash.update(`${name}/${path}`).update(content)
    return hash.digest('hex')
  }
  expect(await digest()).toBe(await digest())
})

describe('models', () => {
  test.each(['gpt2', 'openai-community/gpt2'])(
    '%s: old names, fused [in, out] weights, tied, masks saved',
    async (path) => {
      const { folder } = await resolveModel({ path }, hub())
      expect((await readdir(folder)).sort()).toEqual([
        'config.json',
        'generation_config.json',
        'model.safetensors',
        'tokenizer.json',
        'tokenizer_config.json',
      ])
      const header = await readSafetensorsHeader(join(folder, 'model.safetensors'))
      expect(header['h.0.attn.c_attn.weight']?.shape).toEqual([32, 96])
      expect(header['h.1.attn.bias']?.shape).toEqual([1, 1, 64, 64])
      expect(Object.keys(header).some((name) => name.startsWith('transformer.') || name === 'lm_head.weight')).toBe(
        false,
      )
      await using policy = await Policy.load(folder, cpu)
      const tokenizer = await Tokenizer.load(folder)
      expect(policy.info).toMatchObject({ architecture: 'gpt2', vocabSize: 400 })
      const ids = [await tokenizer.encode('the film was good')]
      const [answer] = await policy.generate(
        { ids, maxNewTokens: 3, greedy: true, eosTokenIds: [] },
        { batchTokens: 64 },
      )
      expect(answer).toHaveLength(3)
    },
  )

  test('google/gemma-2b-it: two shards of bfloat16, no lm_head, a template in tokenizer_config.json', async () => {
    const { folder, revision } = await resolveModel({ path: 'google/gemma-2b-it' }, hub())
    expect(revision).toBe('96988410cbdaeb8d5093d1ebdc5a8fb563e02bad')
    const names = await readdir(folder)
    expect(names.filter((name) => name.endsWith('.safetensors'))).toEqual([
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ])
    expect(names).not.toContain('gemma-2b-it.gguf')
    const header = await readSafetensorsHeader(join(folder, 'model-00001-of-00002.safetensors'))
    expect(header['model.embed_tokens.weight']).toMatchObject({ dtype: 'BF16', shape: [528, 24] })
    const tokenizer = await Tokenizer.load(folder)
    const rendered = tokenizer.chatTemplate?.render([{ role: 'user', content: 'hi' }], {
      specialTokens: tokenizer.specialTokens,
    })
    expect(rendered).toBe('<bos><start_of_turn>user\nhi<end_of_turn>\n')
    await using policy = await Policy.load(folder, cpu)
    expect(policy.info).toMatchObject({ architecture: 'gemma', headDim: 16, kvHeads: 1, eosTokenIds: [1] })
    const [logprobs] = await policy.logprobs({ ids: [await tokenizer.encode('a good film')] }, { batchTokens: 64 })
    expect(logprobs?.every((value) => Number.isFinite(value) && value < 0)).toBe(true)
  })

  test('sfairXC/FsfairX-LLaMA3-RM-v0.1: a sequence classifier over four shards', async () => {
    const { folder } = await resolveModel({ path: 'sfairXC/FsfairX-LLaMA3-RM-v0.1' }, hub())
    const shards = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort()
    expect(shards).toHaveLength(4)
    expect(Object.keys(await readSafetensorsHeader(join(folder, shards[3] as string)))).toContain('score.weight')
    await using judge = await RewardModel.load(folder, cpu)
    expect(judge.info).toMatchObject({ architecture: 'llama', numLabels: 1 })
    const tokenizer = await Tokenizer.load(folder)
    const text = tokenizer.chatTemplate?.render(
      [
        { role: 'user', content: 'how was it?' },
        { role: 'assistant', content: 'good' },
      ],
      { specialTokens: tokenizer.specialTokens },
    ) as string
    const [score] = await judge.score({ ids: [await tokenizer.encode(text)] })
    expect(score).toMatchObject({ mean: expect.any(Number), std: null })
    expect(Number.isFinite(score?.mean)).toBe(true)
  })

  test('weights in a pickle alone are refused with the way out', async () => {
    await expect(resolveModel({ path: 'owner/pickled' }, hub())).rejects.toMatchObject({
      code: 'E_UNSUPPORTED',
      message: expect.stringContaining('scripts/convert-weights.py owner/pickled'),
    })
    expect(server.requests.some(({ path }) => path.includes('pytorch_model.bin'))).toBe(false)
  })
})

describe('data sets', () => {
  test('weqweasdas/preference_dataset_mix2: conversations on both sides, shards in order', async () => {
    const source = { path: 'weqweasdas/preference_dataset_mix2', split: 'train' }
    const { pairs, report } = await readPairs(readSource(source, undefined, hub()))
    expect(report).toMatchObject({ rows: 36, used: 36 })
    expect(pairs.map(({ row }) => row.number)).toEqual(
      [1, 2, 3].flatMap(() => Array.from({ length: 12 }, (_, i) => i + 1)),
    )
    const { folder } = await resolveModel({ path: 'google/gemma-2b-it' }, hub())
    const tokens = await tokenisePairs(await Tokenizer.load(folder), pairs, { maxLength: 512, overLong: 'drop' })
    expect(tokens.chosen).toHaveLength(36)
  })

  test.each(['stanfordnlp/imdb', 'imdb'])('%s: three splits of configuration plain_text', async (path) => {
    const lengths = []
    for (const split of ['train', 'test', 'unsupervised']) lengths.push((await rowsOf({ path, split })).length)
    expect(lengths).toEqual([48, 12, 6])
    const { texts } = await readTexts(readSource({ path }, ['text'], hub()))
    expect(texts).toHaveLength(48)
    expect((await rowsOf({ path, split: 'unsupervised' })).map((row) => row.label)).toEqual(Array(6).fill(-1))
    expect(await rowsOf({ path, subset: 'plain_text', split: 'test' })).toHaveLength(12)
    await expect(rowsOf({ path, split: 'validation' })).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      argument: 'split',
    })
  })

  test('allenai/reward-bench: the split filtered, its columns and ids', async () => {
    const { rows, revision } = await readBenchmark({ path: 'allenai/reward-bench' }, hub())
    expect(rows.map((row) => row.id)).toEqual(Array.from({ length: 12 }, (_, i) => i + 30))
    expect(revision).toBe('d61ac5c97d0f2f7eb922da3c0b6bbaf614ae8d02')
    expect(await rowsOf({ path: 'allenai/reward-bench', split: 'raw' })).toHaveLength(18)
  })

  test('allenai/pref-test-sets: the prior sets of its nine splits, prompts of several turns', async () => {
    const { rows, warnings } = await readPriorSets({ path: 'allenai/pref-test-sets' }, hub())
    expect([...new Set(rows.map((row) => row.subset))].sort()).toEqual([
      'anthropic_helpful',
      'anthropic_hhh',
      'shp',
      'summarize',
    ])
    expect(warnings).toEqual([])
    const turns = rows.map(({ chosen }) =>
      'messages' in chosen ? chosen.messages.map(({ role }) => role[0]).join('') : '',
    )
    expect([...new Set(turns)].sort()).toEqual(['ua', 'uaua'])
  })
})

const python = process.env.PRUDENT_PEERS_PYTHON
const withPython = python === undefined ? test.skip : test
withPython('scripts/convert-weights.py writes what prudent reads, tied weights once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prudent-convert-'))
  try {
    const make = [
      'import sys, torch, transformers',
      'config = transformers.GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=16)',
      'model = transformers.GPT2LMHeadModel(config)',
      'config.save_pretrained(sys.argv[1])',
      'torch.save(model.state_dict(), sys.argv[1] + "/pytorch_model.bin")',
    ].join('\n')
    const run = promisify(execFile)
    await run(python as string, ['-c', make, folder])
    await expect(Policy.load(folder, cpu)).rejects.toMatchObject({
      code: 'E_UNSUPPORTED',
      message: expect.stringContaining('convert-weights.py'),
    })
    const target = join(folder, 'converted')
    await run(python as string, [join('scripts', 'convert-weights.py'), folder, target])
    const header = await readSafetensorsHeader(join(target, 'model.safetensors'))
    expect(Object.keys(header)).not.toContain('lm_head.weight')
    await using policy = await Policy.load(target, cpu)
    expect(policy.info.vocabSize).toBe(40)
    // Code in a pickle is not run.
    const evil =
      'import os, pickle, sys\nclass Evil:\n    def __reduce__(self):\n        return (os.system, ("touch " + sys.argv[1] + "/ran",))\npickle.dump({"x": Evil()}, open(sys.argv[1] + "/pytorch_model.bin", "wb"))'
    await run(python as string, ['-c', evil, folder])
    await expect(
      run(python as string, [join('scripts', 'convert-weights.py'), folder, join(folder, 'x')]),
    ).rejects.toThrow()
    expect(await readdir(folder)).not.toContain('ran')
    await writeFile(join(folder, 'pytorch_model.bin'), '')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
