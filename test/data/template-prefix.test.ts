import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { renderConversation } from '../../ts/data/conversation.js'
import { constantPrefix, keepPrefix, LEAST_PREFIX_TOKENS, templatePrefix } from '../../ts/data/template-prefix.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'
import { PrudentError } from '../../ts/errors.js'

const FILES = join('test', 'data', 'files', 'tokenizers')
const rain = { role: 'user', content: 'is it going to rain' }
const constant = Array.from({ length: LEAST_PREFIX_TOKENS }, (_, token) => 100 + token)

describe('the constant beginning of a chat template', () => {
  test('is what texts of different content have in common, from so many tokens on', async () => {
    const behind = (beginning: number[]) => (exchanges: readonly { prompt: string }[]) =>
      Promise.resolve(exchanges.map(({ prompt }) => [...beginning, prompt.charCodeAt(0), 1]))
    expect(await constantPrefix(behind(constant))).toEqual(Int32Array.from(constant))
    expect(await constantPrefix(behind(constant.slice(1)))).toHaveLength(0)
  })

  test('is none where the template refuses such messages; other failures are passed on', async () => {
    const failing = (code: 'E_DATA' | 'E_DISPOSED') => () => Promise.reject(new PrudentError(code, 'no'))
    expect(await constantPrefix(failing('E_DATA'))).toHaveLength(0)
    await expect(constantPrefix(failing('E_DISPOSED'))).rejects.toMatchObject({ code: 'E_DISPOSED' })
  })

  test.each(['gemma', 'llama3', 'word-level'])('%s: other conversations begin with it', async (name) => {
    const folder = await mkdtemp(join(tmpdir(), 'prudent template '))
    try {
      await cp(join(FILES, name), folder, { recursive: true })
      await writeFile(
        join(folder, 'chat_template.jinja'),
        `${'The film was a quiet delight. '.repeat(LEAST_PREFIX_TOKENS)}{% for m in messages %}{{ m.content }}{% endfor %}`,
      )
      const tokenizer = await Tokenizer.load(folder)
      const prefix = await templatePrefix(tokenizer)
      const row = await tokenizer.encode(renderConversation(tokenizer, { messages: [rain] }))
      expect(prefix.length).toBeGreaterThanOrEqual(LEAST_PREFIX_TOKENS)
      expect(row.slice(0, prefix.length)).toEqual(prefix)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('is none without a template', async () => {
    expect(await templatePrefix(await Tokenizer.load(join(FILES, 'gpt2')))).toHaveLength(0)
  })
})

test('a model is given what it can hold and nothing else', async () => {
  const given: Int32Array[] = []
  const model = (vocabSize: number, maxPositions: number) => ({
    info: () => ({ vocabSize, maxPositions }) as never,
    setPrefix: async (ids: Int32Array) => void given.push(ids),
  })
  const prefix = Int32Array.from(constant)
  await keepPrefix(model(100 + constant.length - 1, 64), prefix) // one token short
  await keepPrefix(model(500, constant.length), prefix) // no room for a text behind it
  await keepPrefix(model(500, 64), new Int32Array())
  expect(given).toEqual([])
  await keepPrefix(model(100 + constant.length, constant.length + 1), prefix)
  expect(given).toEqual([prefix])
})
