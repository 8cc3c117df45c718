import { join } from 'node:path'
import { packRows, unpackRows } from '../../data/batching.js'
import { eosTokenIds } from '../../data/model-files.js'
import { pathExists } from '../../data/sources.js'
import { PrudentError } from '../../errors.js'
import type { GenerateOptions } from '../generate.js'
import { type OpenModel, tokeniserFor, withOpenModel } from './model.js'
import type { RowTokeniser } from './row-inputs.js'
import { streamRows } from './row-stream.js'
import type { Session } from './session.js'

/** `prudent generate`: a response to every prompt. */
export async function runGenerate(session: Session, options: GenerateOptions): Promise<void> {
  await streamRows(session, { ...options, label: 'answered', forms: ['text', 'input_ids'] }, (process) =>
    withOpenModel(session, options, 'causal-lm', async (model) => {
      checkRoom(model, options.maxNewTokens)
      const tokeniser = tokeniserFor(model, options, options.maxNewTokens)
      const settings = await generation(model, options)
      const decode = await decoder(model, options, tokeniser)
      await process(async (rows, firstIndex) => {
        const prompts = packRows(await tokeniser.tokenise(rows))
        const rowKeys = Float64Array.from(rows, (_, offset) => firstIndex + offset)
        const responses = unpackRows(await model.native.generate(prompts, { ...settings, rowKeys }, model.call))
        const texts = await decode(responses)
        return responses.map((ids, index) => ({ text: texts[index] ?? null, response_ids: Array.from(ids) }))
      })
    }),
  )
}

function checkRoom(model: OpenModel, maxNewTokens: number): void {
  const { maxPositions } = model.info
  if (maxNewTokens < maxPositions) return
  const expected = `fewer than the model's ${maxPositions} positions`
  throw new PrudentError('E_USAGE', `--max-new-tokens: expected ${expected}, received ${maxNewTokens}`, {
    argument: '--max-new-tokens',
    expected,
    received: String(maxNewTokens),
  })
}

async function generation(model: OpenModel, options: GenerateOptions) {
  const { maxNewTokens, minNewTokens, temperature, topK, topP, seed, batchTokens } = options
  const eos = options.eosTokenId ?? (await eosTokenIds(model.folder))
  const greedy = options.greedy ?? false
  return { maxNewTokens, minNewTokens, temperature, topK, topP, seed, batchTokens, greedy, eosTokenIds: eos }
}

type Decode = (rows: Int32Array[]) => Promise<(string | null)[]>

async function decoder(model: OpenModel, options: GenerateOptions, tokeniser: RowTokeniser): Promise<Decode> {
  const hasTokenizer = options.tokenizer !== undefined || (await pathExists(join(model.folder, 'tokenizer.json')))
  if (!hasTokenizer) return async (rows) => rows.map(() => null)
  return async (rows) => (await tokeniser.tokenizer()).decodeBatch(rows, { skipSpecialTokens: true })
}
