import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { renderConversation } from '../../ts/data/conversation.js'
import { retokenise } from '../../ts/data/retokenise.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'

const FILES = join('test', 'data', 'files', 'tokenizers')
let gpt2: Tokenizer
let gemma: Tokenizer
let wordLevel: Tokenizer
beforeAll(async () => {
  const load = (name: string) => Tokenizer.load(join(FILES, name))
  ;[gpt2, gemma, wordLevel] = await Promise.all([load('gpt2'), load('gemma'), load('word-level')])
})

async function responseIds(policy: Tokenizer, text: string): Promise<Int32Array> {
  return policy.encode(text, { addSpecialTokens: false })
}

/** The contract in other words: the text that the policy's ids decode to, in the scorer's template, encoded by the scorer. */
async function expectedRow(response: string): Promise<Int32Array> {
  const messages = [
    { role: 'user', content: 'Tell me' },
    { role: 'assistant', content: response },
  ]
  return gemma.encode(renderConversation(gemma, { messages }))
}

describe('policy tokens to scorer tokens', () => {
  const texts = [
    'The film was a quiet delight.',
    ' leading space and  two',
    'naïve café 日本語 👩‍👩‍👧‍👦',
    'e\u0301 combining, ﬁ ligature, \u212b',
    'trailing newline\n\n',
  ]
  test.each(texts)('%j is the same text for both', async (text) => {
    const result = await retokenise([{ prompt: 'Tell me', responseIds: await responseIds(gpt2, text) }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
      countRoundTrips: true,
    })
    expect(result.texts).toEqual([text])
    expect(result.notRoundTrip).toBe(0)
    expect(result.rows[0]).toEqual(await expectedRow(text))
  })

  test('bytes that no character completes become U+FFFD and are counted', async () => {
    const whole = await responseIds(gpt2, 'good 日')
    const cut = whole.subarray(0, whole.length - 1)
    const result = await retokenise([{ prompt: 'Tell me', responseIds: cut }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
      countRoundTrips: true,
    })
    expect(result.texts[0]).toMatch(/^good \uFFFD/)
    expect(result.notRoundTrip).toBe(1)
    expect(result.rows[0]).toEqual(await expectedRow(result.texts[0] as string))
  })

  test('EOS and other special tokens of the policy leave no text', async () => {
    const ids = [...(await responseIds(gpt2, 'Done.')), gpt2.eosTokenId as number]
    const result = await retokenise([{ prompt: 'Tell me', responseIds: ids }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
      countRoundTrips: true,
    })
    expect(result.texts).toEqual(['Done.'])
    expect(result.notRoundTrip).toBe(0)
  })

  test('an empty response still has the turn of the assistant', async () => {
    const result = await retokenise([{ prompt: 'Tell me', responseIds: [gpt2.eosTokenId as number] }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
    })
    expect(result.texts).toEqual([''])
    expect(result.notRoundTrip).toBeNull()
    expect(result.rows[0]).toEqual(await expectedRow(''))
  })

  test('text that looks like a special token of the scorer becomes that token', async () => {
    const result = await retokenise([{ prompt: 'Tell me', responseIds: await responseIds(gpt2, 'stop<eos>here') }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
    })
    expect([...(result.rows[0] as Int32Array)]).toContain(gemma.eosTokenId)
  })

  test('an order of tokens that no text is encoded to is the same text, and is counted', async () => {
    const ids = [
      ...(await responseIds(gpt2, ' re')),
      ...(await responseIds(gpt2, 's')),
      ...(await responseIds(gpt2, 'taurant')),
    ]
    const result = await retokenise([{ prompt: 'Tell me', responseIds: ids }], {
      policy: gpt2,
      scorer: gemma,
      maxLength: 512,
      countRoundTrips: true,
    })
    expect(result.texts).toEqual([' restaurant'])
    expect(result.notRoundTrip).toBe(1)
    expect(result.rows[0]).toEqual(await expectedRow(' restaurant'))
  })

  test('a policy that normalises (NFKC, lower case) and knows few words gives the text that is left', async () => {
    const ids = await responseIds(wordLevel, 'The ＦＩＬＭ was xylophone')
    const result = await retokenise([{ prompt: 'Tell me', responseIds: ids }], {
      policy: wordLevel,
      scorer: gemma,
      maxLength: 512,
    })
    expect(result.texts[0]).toContain('the film was')
    expect(result.rows[0]).toEqual(await expectedRow(result.texts[0] as string))
  })

  test('over-long rows are cut on the left, and a scorer without a template gets the joined text', async () => {
    const ids = await responseIds(gemma, 'a good answer about the film')
    const request = { policy: gemma, scorer: gpt2, maxLength: 8 }
    const result = await retokenise([{ prompt: 'Question: ', responseIds: ids }], request)
    const whole = await gpt2.encode('Question: a good answer about the film')
    expect(result.truncated).toBe(1)
    expect(result.rows[0]).toEqual(whole.subarray(whole.length - 8))
  })
})
