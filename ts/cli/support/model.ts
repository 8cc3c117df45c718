import { loadAddon } from '../../addon/load.js'
import type { Dtype, ModelInfo, NativeAddon, NativeCall, NativeModel } from '../../addon/native.js'
import { resolveModel } from '../../data/model-files.js'
import { Tokenizer } from '../../data/tokenizer.js'
import type { ModelOptions } from './options.js'
import { RowTokeniser } from './row-inputs.js'
import type { Session } from './session.js'

export interface OpenModel {
  folder: string
  native: NativeModel
  info: ModelInfo
  /** For `call` of native methods: stops with the session. */
  call: NativeCall
}

/** Resolves, loads and, after `body`, disposes of a model. */
export async function withOpenModel<Result>(
  session: Session,
  options: ModelOptions,
  task: 'causal-lm' | 'sequence-classification',
  body: (model: OpenModel) => Promise<Result>,
): Promise<Result> {
  const addon = loadAddon()
  const token = addon.createCancelToken()
  const cancel = () => token.cancel()
  session.signal.addEventListener('abort', cancel, { once: true })
  try {
    session.signal.throwIfAborted()
    const { folder } = await resolveModel(
      { path: options.model, revision: options.revision },
      { signal: session.signal },
    )
    const dtype = options.dtype === 'auto' ? autoDtype(addon) : options.dtype
    const device = options.device === 'cuda' ? 'cuda:0' : options.device
    const native = await addon.loadModel(folder, { task, dtype, device }, { token })
    try {
      return await body({ folder, native, info: native.info(), call: { token } })
    } finally {
      await native.dispose()
    }
  } finally {
    session.signal.removeEventListener('abort', cancel)
  }
}

/** bf16 only where the CPU multiplies it natively; elsewhere it is slower than fp32. */
function autoDtype(addon: NativeAddon): Dtype {
  return addon.systemInfo().cpu.bf16 ? 'bfloat16' : 'float32'
}

export interface RowOptions extends ModelOptions {
  tokenizer?: string
  truncate?: 'left'
}

/** Rows to token ids for a model, of which `reserved` positions stay free. */
export function tokeniserFor(model: OpenModel, options: RowOptions, reserved = 0): RowTokeniser {
  const load = async () =>
    Tokenizer.load(
      options.tokenizer === undefined ? model.folder : (await resolveModel({ path: options.tokenizer })).folder,
    )
  const { vocabSize, maxPositions } = model.info
  return new RowTokeniser(load, { vocabSize, maxTokens: maxPositions - reserved, truncate: options.truncate })
}
