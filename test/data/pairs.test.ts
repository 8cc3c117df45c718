import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { renderConversation, renderPrompt } from '../../ts/data/conversation.js'
import { type PairColumns, readPairs, tokenisePairs } from '../../ts/data/preferences.js'
import { describeReport } from '../../ts/data/report.js'
import { type Row, readRows } from '../../ts/data/rows.js'
import { readTexts, tokeniseTexts } from '../../ts/data/texts.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'

const FILES = join('test', 'data', 'files')
let gemma: Tokenizer
let gpt2: Tokenizer
let wordLevel: Tokenizer
beforeAll(async () => {
  const load = (name: string) => Tokenizer.load(join(FILES, 'tokenizers', name))
  ;[gemma, gpt2, wordLevel] = await Promise.all([load('gemma'), load('gpt2'), load('word-level')])
})

async function* rowsOf(values: Row['values'][]): AsyncGenerator<Row> {
  for (const [index, row] of values.entries()) yield { values: row, file: 'data.jsonl', number: index + 1 }
}

const exchange = (question: string, answer: string) => [
  { role: 'user', content: question },
  { role: 'assistant', content: answer },
]

describe('forms of preference pairs', () => {
  const expected = { messages: exchange('Why?', 'Because.') }
  const usual: PairColumns = { chosen: 'chosen', rejected: 'rejected' }
  const forms: [string, Row['values'], PairColumns][] = [
    ['whole conversations', { chosen: exchange('Why?', 'Because.'), rejected: exchange('Why?', 'No.') }, usual],
    [
      'conversations with a prompt column beside',
      { prompt: 'Why?', chosen: exchange('Why?', 'Because.'), rejected: exchange('Why?', 'No.') },
      usual,
    ],
    [
      'texts with a prompt (RewardBench)',
      { prompt: 'Why?', chosen: 'Because.', rejected: 'No.', subset: 'hep-js', id: 3 },
      usual,
    ],
    [
      'responses as lists with a prompt as a list',
      {
        prompt: exchange('Why?', '').slice(0, 1),
        chosen: exchange('', 'Because.').slice(1),
        rejected: exchange('', 'No.').slice(1),
      },
      usual,
    ],
    [
      'columns of other names',
      { q: 'Why?', good: 'Because.', bad: 'No.' },
      { prompt: 'q', chosen: 'good', rejected: 'bad' },
    ],
  ]
  test.each(forms)('%s', async (_name, values, columns) => {
    const { pairs, report } = await readPairs(rowsOf([values]), columns)
    expect(pairs[0]?.chosen).toEqual(expected)
    expect(report).toMatchObject({ rows: 1, used: 1 })
  })
  test('texts without a prompt stay texts', async () => {
    const { pairs } = await readPairs(rowsOf([{ chosen: '\n\nHuman: a\n\nAssistant: b', rejected: 'c' }]))
    expect(pairs[0]?.chosen).toEqual({ text: '\n\nHuman: a\n\nAssistant: b' })
  })
})

describe('rows that cannot be used', () => {
  test('are counted by kind, with places', async () => {
    const { pairs, report } = await readPairs(
      rowsOf([
        { prompt: 'p', chosen: 'a', rejected: 'b' },
        { prompt: 'p', chosen: null, rejected: 'b' },
        { prompt: null, chosen: 'a', rejected: 'b' },
        { prompt: 'p', chosen: '  ', rejected: 'b' },
        { prompt: 'p', chosen: 'a', rejected: [] },
        { prompt: 'p', chosen: 'same', rejected: 'same' },
        { prompt: null, chosen: exchange('q', 'a'), rejected: exchange('q', 'b') },
      ]),
    )
    expect(pairs).toHaveLength(2)
    expect(report).toMatchObject({ rows: 7, used: 2, null: 2, empty: 2, identical: 1, truncated: 0, overLong: 0 })
    expect(report.examples.null).toEqual(['data.jsonl:2', 'data.jsonl:3'])
    expect(describeReport(report)).toBe(
      '7 rows: 2 used, 2 null (data.jsonl:2, data.jsonl:3), 2 empty (data.jsonl:4, data.jsonl:5), 1 identical (data.jsonl:6)',
    )
  })
  const broken: [string, Row['values'], string][] = [
    [
      'a number for a text',
      { chosen: 3, rejected: 'b' },
      'data.jsonl:1: chosen: expected text or a list of messages, received a number',
    ],
    [
      'a message without content',
      { chosen: [{ role: 'user' }], rejected: [] },
      'message 1: expected a text "content", received nothing',
    ],
    ['a missing column', { chosen: 'a' }, 'no column "rejected"; there is chosen'],
  ]
  test.each(broken)('%s is an error', async (_name, values, message) => {
    await expect(readPairs(rowsOf([values]))).rejects.toMatchObject({
      code: 'E_DATA',
      message: expect.stringContaining(message),
    })
  })
  test('a damaged message deep in a Parquet file is named by row', async () => {
    await expect(readPairs(readRows([join(FILES, 'parquet', 'preferences-zstd.parquet')]))).rejects.toMatchObject({
      code: 'E_DATA',
      message: expect.stringContaining(
        'preferences-zstd.parquet:8: rejected, message 2: expected a text "content", received null',
      ),
    })
  })
})

describe('tokenised pairs', () => {
  const rows = () =>
    rowsOf([
      { prompt: 'Hi', chosen: 'The film was a delight', rejected: 'Cold food' },
      { prompt: 'x '.repeat(60), chosen: 'a', rejected: 'b' },
      { prompt: 'Hi', chosen: 'THE FILM', rejected: 'the film' },
    ])

  test('over-long pairs are cut on the left and keep the one BOS, or are dropped', async () => {
    const { pairs } = await readPairs(rows())
    const cut = await tokenisePairs(gemma, pairs, { maxLength: 40, overLong: 'truncate-left' })
    expect(cut.report).toMatchObject({ used: 3, truncated: 1, overLong: 0 })
    const long = cut.chosen[1] as Int32Array
    expect(long).toHaveLength(40)
    expect([long[0], long.filter((id) => id === gemma.bosTokenId).length]).toEqual([gemma.bosTokenId, 1])
    expect(await gemma.decode(long)).toMatch(/a<end_of_turn>\n$/)
    const dropped = await tokenisePairs(gemma, pairs, { maxLength: 40, overLong: 'drop' })
    expect(dropped.report).toMatchObject({ used: 2, truncated: 0, overLong: 1 })
    expect([...dropped.source]).toEqual([0, 2])
  })
  test('sides that become the same tokens are dropped', async () => {
    const { pairs } = await readPairs(rows())
    const { report, source } = await tokenisePairs(wordLevel, pairs, { maxLength: 400, overLong: 'drop' })
    expect(report).toMatchObject({ identical: 1, used: 2 })
    expect([...source]).toEqual([0, 1])
  })
  test('a template that refuses the messages names the row', async () => {
    const { pairs } = await readPairs(
      rowsOf([{ chosen: [{ role: 'system', content: 'a' }], rejected: exchange('a', 'b') }]),
    )
    await expect(tokenisePairs(gemma, pairs, { maxLength: 40, overLong: 'drop' })).rejects.toMatchObject({
      code: 'E_DATA',
      message: expect.stringMatching(/data\.jsonl:1: .*System role not supported/),
    })
  })
})

describe('rendering', () => {
  const messages = exchange('Hi', 'Hello')
  test('template text loses the BOS that the tokenizer adds', async () => {
    const text = renderConversation(gemma, { messages })
    expect(text.startsWith('<start_of_turn>')).toBe(true)
    const ids = await gemma.encode(text)
    expect([...ids].filter((id) => id === gemma.bosTokenId)).toHaveLength(gemma.addsBos ? 1 : 0)
  })
  test('a prompt opens the turn of the assistant', () => {
    expect(renderPrompt(gemma, { messages: messages.slice(0, 1) })).toMatch(/<start_of_turn>model\n$/)
  })
  test('without a template the texts are joined', () => {
    expect(renderConversation(gpt2, { messages: exchange('Hi there', ' friend') })).toBe('Hi there friend')
  })
})

describe('text columns', () => {
  test('IMDB-shaped rows, null and empty ones counted', async () => {
    const { texts, report } = await readTexts(readRows([join(FILES, 'parquet', 'imdb.parquet')]))
    expect(texts).toEqual(['A <br /> review', 'Another one'])
    expect(report).toMatchObject({ rows: 4, used: 2, empty: 1, null: 1 })
  })
  test('over-long texts', async () => {
    const texts = ['short', 'word '.repeat(50)]
    expect((await tokeniseTexts(gpt2, texts, { maxLength: 10, overLong: 'drop' })).report).toMatchObject({
      used: 1,
      overLong: 1,
    })
    const { rows, report } = await tokeniseTexts(gpt2, texts, { maxLength: 10, overLong: 'truncate-left' })
    expect(rows[1]).toHaveLength(10)
    expect(report).toMatchObject({ used: 2, truncated: 1 })
  })
  test('wrong columns and types', async () => {
    await expect(readTexts(rowsOf([{ body: 'a' }]))).rejects.toMatchObject({ code: 'E_DATA' })
    await expect(readTexts(rowsOf([{ text: 7 }]))).rejects.toMatchObject({
      message: expect.stringContaining('received a number'),
    })
  })
})
