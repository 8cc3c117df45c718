import { expect, test } from '@jest/globals'
import { emptyReport } from '../../ts/data/report.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'
import { cutPrompts, promptSettings } from '../../ts/policy/prompts.js'

const words = 'the film was a joy to watch and the cast gave it all they had from the first scene on '
const texts = Array.from({ length: 300 }, (_, index) => `${index % 5} ${words.repeat(3)}`)
const tokenizer = await Tokenizer.load('test/data/files/tokenizers/gpt2')

async function lengths(queryTokens: object): Promise<number[]> {
  const settings = promptSettings.parse({ source: 'x', queryTokens })
  const { prompts } = await cutPrompts(texts, settings, tokenizer, { ...emptyReport(), rows: 300, used: 300 })
  return prompts.ids.map((ids) => ids.length)
}

test('2 to 8 as classic TRL draws it leaves out 8; inclusive takes it', async () => {
  const [trl, paper] = [await lengths({}), await lengths({ inclusive: true })]
  expect([...new Set(trl)].sort()).toEqual([2, 3, 4, 5, 6, 7])
  expect([...new Set(paper)].sort()).toEqual([2, 3, 4, 5, 6, 7, 8])
  expect(await lengths({})).toEqual(trl)
  for (const length of [2, 3, 4, 5, 6, 7]) expect(trl.filter((drawn) => drawn === length).length).toBeGreaterThan(25)
})

test('a prompt is the first tokens of its text, and its text is what they stand for', async () => {
  const settings = promptSettings.parse({ source: 'x' })
  const { prompts } = await cutPrompts(texts, settings, tokenizer, emptyReport())
  for (const row of [0, 7, 299]) {
    const whole = await tokenizer.encode(texts[row] as string)
    const ids = prompts.ids[row] as Int32Array
    expect(Array.from(ids)).toEqual(Array.from(whole.subarray(0, ids.length)))
    expect((texts[row] as string).startsWith(prompts.texts[row] as string)).toBe(true)
  }
})

test('texts of at most 200 characters are left out and counted', async () => {
  const settings = promptSettings.parse({ source: 'x' })
  const report = { ...emptyReport(), rows: 3, used: 3 }
  const { prompts } = await cutPrompts(['a'.repeat(200), 'b'.repeat(201), 'ü'.repeat(201)], settings, tokenizer, report)
  expect(prompts.ids.length).toBe(2)
  expect(report.used).toBe(2)
  await expect(cutPrompts(['short'], settings, tokenizer, emptyReport())).rejects.toMatchObject({ code: 'E_DATA' })
  const wrong = promptSettings.parse({ source: 'x', queryTokens: { min: 4, max: 4 } })
  await expect(cutPrompts(texts, wrong, tokenizer, emptyReport())).rejects.toMatchObject({ code: 'E_CONFIG' })
})
