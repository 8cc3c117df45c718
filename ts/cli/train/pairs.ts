import type { z } from 'zod'
import type { preferenceData } from '../../config/blocks.js'
import { holdOut } from '../../data/batching.js'
import { readPairs, type TokenisedPairs, tokenisePairs } from '../../data/preferences.js'
import { Random } from '../../data/random.js'
import { describeReport } from '../../data/report.js'
import { rowPlace } from '../../data/rows.js'
import { readSource } from '../../data/sources.js'
import type { Tokenizer } from '../../data/tokenizer.js'
import type { TokenPairs } from '../../training/types.js'
import type { Session } from '../support/session.js'

/** Reads preference pairs, tells what became of every row, and splits off the held-out part. */
export async function loadPairs(
  session: Session,
  data: z.output<typeof preferenceData>,
  heldOut: { fraction: number; seed: number },
  tokenizer: Tokenizer,
): Promise<{ train: TokenPairs; heldOut: TokenPairs }> {
  const rows = readSource(data.source, undefined, { signal: session.signal })
  const { pairs, report } = await readPairs(rows, data.columns)
  const tokens = await tokenisePairs(tokenizer, pairs, { maxLength: data.maxLength, overLong: data.overLong, report })
  session.note(`${data.source.path}: ${describeReport(report)}`)
  const random = Random.from(heldOut.seed, 'held-out')
  const split = holdOut(tokens.chosen.length, { random, fraction: heldOut.fraction, groups: promptsOf(tokens) })
  return { train: select(tokens, split.train), heldOut: select(tokens, split.heldOut) }
}

/** Pairs of one prompt stay on one side of the split: the text before the last message, or the prompt of plain texts. */
function promptsOf(tokens: TokenisedPairs): string[] {
  return Array.from(tokens.source, (source, index) => {
    const pair = tokens.pairs[source]
    const prompt = pair !== undefined && 'messages' in pair.chosen ? pair.chosen.messages.slice(0, -1) : []
    return prompt.length > 0 ? JSON.stringify(prompt) : `row ${index}`
  })
}

function select(tokens: TokenisedPairs, numbers: Int32Array): TokenPairs {
  const take = (rows: readonly Int32Array[]) => Array.from(numbers, (number) => rows[number] as Int32Array)
  const places = Array.from(numbers, (number) => {
    const pair = tokens.pairs[tokens.source[number] as number]
    return pair === undefined ? `row ${number}` : rowPlace(pair.row)
  })
  return { chosen: take(tokens.chosen), rejected: take(tokens.rejected), places }
}
