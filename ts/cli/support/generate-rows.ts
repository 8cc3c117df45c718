import { join } from 'node:path'
import { Policy } from '../../addon/policy.js'
import { eosTokenIds } from '../../data/model-files.js'
import { pathExists } from '../../data/sources.js'
import { PrudentError } from '../../errors.js'
import type { GenerateOptions } from '../generate.js'
import { tokeniserFor, withModelOf } from './model.js'
import type { RowTokeniser } from './row-inputs.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

/** `prudent generate`: a response to every prompt. */
export async function runGenerate(session: Session, options: GenerateOptions): Promise<void> {
  const call = { batchTokens: options.batchTokens, signal: session.signal }
  await streamRows(session, { ...options, label: 'answered', forms: ['text', 'input_ids'] }, (process) =>
    withModelOf(session, options, Policy.load, async (model, folder) => {
      checkRoom(model.info.maxPositions, options.maxNewTokens)
      const tokeniser = tokeniserFor(model, folder, options, options.maxNewTokens)
      const sampling = await samplingOf(folder, options)
      const decode = await decoder(folder, options, tokeniser)
      await process(async (rows, firstIndex) => {
        const ids = await tokeniser.tokenise(rows)
        // Rows are numbered over the whole input, so that windows do not repeat each other's random numbers.
        const rowKeys = rows.map((_, offset) => firstIndex + offset)
        const responses = await model.generate({ ids, ...sampling, rowKeys }, call)
        const texts = await decode(responses)
        return responses.map((response, index) => ({ text: texts[index] ?? null, response_ids: Array.from(response) }))
      })
    }),
  )
}

function checkRoom(maxPositions: number, maxNewTokens: number): void {
  if (maxNewTokens < maxPositions) return
  const [expected, received] = [`fewer than the model's ${maxPositions} positions`, String(maxNewTokens)]
  const message = `--max-new-tokens: expected ${expected}, received ${received}`
  throw new PrudentError('E_USAGE', message, { argument: '--max-new-tokens', expected, received })
}

async function samplingOf(folder: string, options: GenerateOptions) {
  const { maxNewTokens, minNewTokens, temperature, topK, topP, seed } = options
  const greedy = options.greedy ?? false
  const eos = options.eosTokenId ?? (await eosTokenIds(folder))
  return { maxNewTokens, minNewTokens, temperature, topK, topP, seed, greedy, eosTokenIds: eos }
}

type Decode = (rows: Int32Array[]) => Promise<(string | null)[]>

async function decoder(folder: string, options: GenerateOptions, tokeniser: RowTokeniser): Promise<Decode> {
  const hasTokenizer = options.tokenizer !== undefined || (await pathExists(join(folder, 'tokenizer.json')))
  if (!hasTokenizer) return async (rows) => rows.map(() => null)
  return async (rows) => (await tokeniser.tokenizer()).decodeBatch(rows, { skipSpecialTokens: true })
}
