import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Tokenizer } from '../../ts/data/tokenizer.js'

interface Expected {
  size: number
  special: Record<string, number | null>
  cases: {
    text: string
    ids: number[]
    plain: number[]
    left: number[]
    right: number[]
    decoded: string
    skipped: string
  }[]
  decodes: { ids: number[]; decoded: string; skipped: string }[]
  templates: {
    messages: { role: string; content: string }[]
    addGenerationPrompt: boolean
    text: string | null
    error: string | null
  }[]
}

const FILES = join('test', 'data', 'files', 'tokenizers')
const SHAPES = [
  'gpt2',
  'gpt2-padded',
  'llama3',
  'llama2',
  'gemma',
  'gemma-hub',
  'word-level',
  'word-level-truncating',
  'unigram',
]

test('every tokenizer folder has its case', async () => {
  const folders = (await readdir(FILES, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  expect(folders.map((entry) => entry.name).sort()).toEqual([...SHAPES].sort())
})

describe.each(SHAPES)('%s against transformers', (shape) => {
  let tokenizer: Tokenizer
  let expected: Expected
  beforeAll(async () => {
    tokenizer = await Tokenizer.load(join(FILES, shape))
    expected = JSON.parse(await readFile(join(FILES, shape, 'expected.json'), 'utf8')) as Expected
  })

  test('size and special tokens', () => {
    expect(tokenizer.vocabSize).toBe(expected.size)
    expect({
      bos_token_id: tokenizer.bosTokenId,
      eos_token_id: tokenizer.eosTokenId,
      pad_token_id: tokenizer.padTokenId,
      unk_token_id: tokenizer.unkTokenId,
    }).toEqual(expected.special)
  })

  test('ids, with and without special tokens, and truncated on either side', async () => {
    const texts = expected.cases.map((row) => row.text)
    const check = async (options: Parameters<Tokenizer['encodeBatch']>[1], key: 'ids' | 'plain' | 'left' | 'right') => {
      const rows = await tokenizer.encodeBatch(texts, options)
      expect(rows.map((ids) => [...ids])).toEqual(expected.cases.map((row) => row[key]))
    }
    await check({}, 'ids')
    await check({ addSpecialTokens: false }, 'plain')
    await check({ maxLength: 6 }, 'left')
    await check({ maxLength: 6, truncate: 'right' }, 'right')
  })

  test('decoded texts, special tokens kept and skipped', async () => {
    const rows = [...expected.cases, ...expected.decodes]
    expect(await tokenizer.decodeBatch(rows.map((row) => row.ids))).toEqual(rows.map((row) => row.decoded))
    const skipped = await tokenizer.decodeBatch(
      rows.map((row) => row.ids),
      { skipSpecialTokens: true },
    )
    expect(skipped).toEqual(rows.map((row) => row.skipped))
  })

  test('chat templates, refusals included', () => {
    for (const { messages, addGenerationPrompt, text, error } of expected.templates) {
      const render = () =>
        tokenizer.chatTemplate?.render(messages, { addGenerationPrompt, specialTokens: tokenizer.specialTokens })
      if (text !== null) expect(render()).toBe(text)
      else
        expect(render).toThrow(
          expect.objectContaining({ code: 'E_DATA', message: expect.stringContaining(error ?? '?') }),
        )
    }
  })
})

describe('tokenizer folders that cannot be read', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'prudent-tokenizer-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  async function changed(name: string, file: string, text: string): Promise<string> {
    const copy = join(folder, name)
    await cp(join(FILES, 'gemma-hub'), copy, { recursive: true })
    await writeFile(join(copy, file), text)
    return copy
  }

  test('a missing tokenizer.json', async () => {
    await expect(Tokenizer.load(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
  test('broken JSON names the file', async () => {
    const copy = await changed('broken', 'tokenizer.json', '{"model": ')
    await expect(Tokenizer.load(copy)).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringContaining('tokenizer.json'),
    })
  })
  test('JSON that is no tokenizer', async () => {
    const copy = await changed('alien', 'tokenizer.json', '{"model": {"type": "Alien"}}')
    await expect(Tokenizer.load(copy)).rejects.toMatchObject({ code: 'E_CORRUPT_FILE' })
  })
  test('a chat template with an error of syntax', async () => {
    const copy = await changed('template', 'chat_template.jinja', '{% for message in messages %}{{ message.content }}')
    const tokenizer = await Tokenizer.load(copy)
    expect(() => tokenizer.chatTemplate?.render([])).toThrow(expect.objectContaining({ code: 'E_CONFIG' }))
  })
  test('split_special_tokens is refused', async () => {
    const copy = await changed('split', 'tokenizer_config.json', '{"split_special_tokens": true}')
    await expect(Tokenizer.load(copy)).rejects.toMatchObject({ code: 'E_UNSUPPORTED' })
  })
  test('no room for the special tokens', async () => {
    const tokenizer = await Tokenizer.load(join(FILES, 'word-level'))
    await expect(tokenizer.encode('the film', { maxLength: 1 })).rejects.toMatchObject({ code: 'E_RANGE' })
  })
})
