import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { type InputForm, parseRow, RowTokeniser } from '../../ts/cli/support/row-inputs.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'

const FORMS: InputForm[] = ['prompt and response', 'messages', 'text', 'input_ids']
const TOKENIZERS = join('test', 'data', 'files', 'tokenizers')
let gpt2: Tokenizer
let gemma: Tokenizer
beforeAll(async () => {
  ;[gpt2, gemma] = (await Promise.all(['gpt2', 'gemma'].map((name) => Tokenizer.load(join(TOKENIZERS, name))))) as [
    Tokenizer,
    Tokenizer,
  ]
})

async function tokenise(
  value: unknown,
  tokenizer: () => Tokenizer = () => gpt2,
  truncate: 'left' | undefined = undefined,
): Promise<Int32Array> {
  const limits = { vocabSize: 600, maxTokens: 48, truncate }
  const tokeniser = new RowTokeniser(async () => tokenizer(), limits)
  const [ids] = await tokeniser.tokenise([parseRow(value, 'in.jsonl', 3, FORMS)])
  return ids as Int32Array
}

describe('rows that cannot be used are named by file and line', () => {
  const message = (content: string) => ({ role: 'user', content })
  const bad: [string, unknown, string, string][] = [
    ['no object', [1], 'E_DATA', 'expected an object, received a list'],
    ['null', null, 'E_DATA', 'expected an object, received null'],
    [
      'no form',
      { body: 'a' },
      'E_DATA',
      'expected one of {prompt, response}, {messages}, {text}, {input_ids}, received {body}',
    ],
    ['two forms', { text: 'a', input_ids: [1] }, 'E_DATA', 'expected one of'],
    ['half a form', { prompt: 'a' }, 'E_DATA', 'response: expected text, received nothing'],
    ['the other half', { response: 'a' }, 'E_DATA', 'prompt: expected text, received nothing'],
    ['a wrong type', { text: 7 }, 'E_DATA', 'text: expected text, received a number'],
    ['a null text', { text: null }, 'E_DATA', 'text: expected text, received null'],
    ['no ids', { input_ids: [] }, 'E_DATA', 'at least one token id'],
    ['ids as text', { input_ids: '1 2' }, 'E_DATA', 'a list of token ids, received a string'],
    ['a fraction', { input_ids: [1, 2.5] }, 'E_DATA', 'input_ids[1]: expected a token id, received 2.5'],
    ['a negative id', { input_ids: [-1] }, 'E_DATA', 'received -1'],
    ['an id beyond 32 bits', { input_ids: [2 ** 33] }, 'E_DATA', 'a token id'],
    ['an id outside the vocabulary', { input_ids: [600] }, 'E_DATA', 'vocabulary size 600, received 600'],
    ['no messages', { messages: [] }, 'E_DATA', 'at least one message'],
    ['messages as text', { messages: 'hi' }, 'E_DATA', 'a list of messages, received a string'],
    ['a message without a role', { messages: [{ content: 'a' }] }, 'E_DATA', 'message 1: expected a text "role"'],
    ['messages without a template', { messages: [message('a')] }, 'E_DATA', 'no chat template'],
    ['an empty text', { text: '' }, 'E_DATA', 'at least one token'],
    ['too many ids', { input_ids: Array(49).fill(1) }, 'E_TOO_LONG', 'at most 48 tokens, received 49; --truncate left'],
    ['a text of too many tokens', { text: 'zq '.repeat(100) }, 'E_TOO_LONG', 'at most 48 tokens'],
  ]
  test.each(bad)('%s', async (_name, value, code, expected) => {
    const error = await tokenise(value).then(
      () => null,
      (problem: { code: string; message: string }) => problem,
    )
    expect(error).toMatchObject({ code, message: expect.stringMatching(/^in\.jsonl:3/) })
    expect(error?.message).toContain(expected)
  })
  test('a template that refuses the messages', async () => {
    const row = { messages: [{ role: 'system', content: 'a' }] }
    await expect(tokenise(row, () => gemma)).rejects.toMatchObject({
      message: expect.stringMatching(/^in\.jsonl:3: .*System role not supported/),
    })
  })
})

describe('rows that can', () => {
  test('columns of no form are ignored', async () => {
    expect(await tokenise({ input_ids: [3, 4], id: 7, subset: 'x' })).toEqual(Int32Array.of(3, 4))
  })
  test('a prompt may be a list of messages', async () => {
    const asList = await tokenise({ prompt: [{ role: 'user', content: 'Hi' }], response: 'Yes' }, () => gemma)
    expect(asList).toEqual(await tokenise({ prompt: 'Hi', response: 'Yes' }, () => gemma))
  })
  test('truncation keeps the end, and the special tokens of texts', async () => {
    const ids = Array.from({ length: 60 }, (_, at) => at)
    expect(await tokenise({ input_ids: ids }, undefined, 'left')).toEqual(Int32Array.from(ids.slice(-48)))
    const text = 'a quiet delight '.repeat(40)
    const whole = await gemma.encode(text)
    const cut = await tokenise({ text }, () => gemma, 'left')
    expect(cut).toHaveLength(48)
    expect(cut.subarray(-40)).toEqual(whole.subarray(-40))
    expect(cut[0]).toBe(gemma.addsBos ? gemma.bosTokenId : whole[whole.length - 48])
  })
})
