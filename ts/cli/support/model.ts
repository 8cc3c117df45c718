import type { ModelOptions as LoadOptions, Model } from '../../addon/model.js'
import { resolveModel } from '../../data/model-files.js'
import { Tokenizer } from '../../data/tokenizer.js'
import type { ModelOptions } from './options.js'
import { RowTokeniser } from './row-inputs.js'
import type { Session } from './session.js'

/** Resolves, loads and, after `body`, disposes of a model; `body` also gets the folder that the model came from. */
export async function withModelOf<Loaded extends Model, Result>(
  session: Session,
  options: ModelOptions,
  load: (folder: string, options: LoadOptions) => Promise<Loaded>,
  body: (model: Loaded, folder: string) => Promise<Result>,
): Promise<Result> {
  const { signal } = session
  const { folder } = await resolveModel({ path: options.model, revision: options.revision }, { signal })
  const { dtype, device } = options
  const model = await load(folder, { dtype, device, signal })
  try {
    return await body(model, folder)
  } finally {
    await model.dispose()
  }
}

export interface RowOptions extends ModelOptions {
  tokenizer?: string
  truncate?: 'left'
}

/** Rows to token ids for a model, of which `reserved` positions stay free. */
export function tokeniserFor(model: Model, folder: string, options: RowOptions, reserved = 0): RowTokeniser {
  const load = async () => {
    if (options.tokenizer === undefined) return Tokenizer.load(folder)
    return Tokenizer.load((await resolveModel({ path: options.tokenizer })).folder)
  }
  const { vocabSize, maxPositions } = model.info
  return new RowTokeniser(load, { vocabSize, maxTokens: maxPositions - reserved, truncate: options.truncate })
}
