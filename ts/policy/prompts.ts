import { z } from 'zod'
import { dataReference, seed } from '../config/blocks.js'
import { Random } from '../data/random.js'
import { countDropped, type DataReport } from '../data/report.js'
import { readSource } from '../data/sources.js'
import { readTexts } from '../data/texts.js'
import type { Tokenizer } from '../data/tokenizer.js'
import { argumentError } from '../errors.js'
import type { PromptSet } from './types.js'

/** Prompts cut from texts, as classic TRL's IMDB example does it. */
export const promptSettings = z.strictObject({
  source: dataReference,
  column: z.string().min(1).default('text'),
  longerThan: z.int().min(0).default(200).describe('Only texts of more characters than this'),
  queryTokens: z
    .strictObject({
      min: z.int().min(1).default(2),
      max: z.int().min(1).default(8),
      inclusive: z
        .boolean()
        .default(false)
        .describe("Whether max itself is drawn; classic TRL's LengthSampler leaves it out"),
    })
    .prefault({})
    .describe('A prompt is the first tokens of a text; their number is drawn uniformly'),
  seed: seed.default(0).describe('Draws the prompt lengths'),
})
export type PromptSettings = z.output<typeof promptSettings>

/** Reads texts and cuts prompts from them; the report counts every text that gave none. */
export async function loadPrompts(
  settings: PromptSettings,
  tokenizer: Tokenizer,
  signal?: AbortSignal,
): Promise<{ prompts: PromptSet; report: DataReport }> {
  const rows = readSource(settings.source, [settings.column], signal === undefined ? {} : { signal })
  const { texts, report } = await readTexts(rows, settings.column)
  return cutPrompts(texts, settings, tokenizer, report)
}

/** Prompts of texts; a text with fewer tokens than drawn is taken whole. */
export async function cutPrompts(
  texts: readonly string[],
  settings: Pick<PromptSettings, 'longerThan' | 'queryTokens' | 'seed'>,
  tokenizer: Tokenizer,
  report: DataReport,
): Promise<{ prompts: PromptSet; report: DataReport }> {
  const { min, max, inclusive } = settings.queryTokens
  const end = inclusive ? max + 1 : max
  if (end <= min)
    throw argumentError('E_CONFIG', 'queryTokens', `max above min (or inclusive)`, `min ${min}, max ${max}`)
  const long = texts.filter((text) => [...text].length > settings.longerThan)
  report.used -= texts.length - long.length
  const encoded = await tokenizer.encodeBatch(long)
  const random = Random.from(settings.seed, 'prompt-lengths')
  const ids: Int32Array[] = []
  for (const [index, row] of encoded.entries()) {
    const length = random.integer(min, end)
    if (row.length > 0) ids.push(row.slice(0, length))
    else {
      report.used--
      countDropped(report, 'empty', `text ${index + 1}`)
    }
  }
  if (ids.length === 0) {
    throw argumentError(
      'E_DATA',
      'prompts',
      `at least one text of more than ${settings.longerThan} characters`,
      `${texts.length} texts, none as long`,
    )
  }
  return { prompts: { ids, texts: await tokenizer.decodeBatch(ids, { skipSpecialTokens: true }) }, report }
}
