import type { NativeModel } from '../../addon/native.js'
import { fittingTokens, type StepMemorySettings } from '../../training/micro-batch.js'
import type { Session } from '../support/session.js'
import type { Start } from './start.js'

/** Beyond so many tokens a micro-batch gains nothing. */
const MOST_TOKENS = { cpu: 8192, cuda: 32768 }

/**
 * The settings with a number in place of `batchTokens: auto`, the same for all ranks. A run that goes on keeps the number that it
 * began with: sums are taken in another order with another one.
 */
export async function withBatchTokens<Settings extends StepMemorySettings & { batchTokens: number | 'auto' }>(
  session: Pick<Session, 'note'>,
  { checkpoint, ranks, run }: Pick<Start<unknown>, 'checkpoint' | 'ranks' | 'run'>,
  model: NativeModel,
  settings: Settings,
): Promise<Settings & { batchTokens: number }> {
  if (settings.batchTokens !== 'auto') return { ...settings, batchTokens: settings.batchTokens }
  const saved = checkpoint?.state.batchTokens
  if (typeof saved === 'number') return { ...settings, batchTokens: saved }
  const onCpu = model.info().device === 'cpu'
  const own = fittingTokens(model, settings, {
    most: onCpu ? MOST_TOKENS.cpu : MOST_TOKENS.cuda,
    ranks: ranks?.size ?? 1,
    sharers: onCpu ? (ranks?.localSize ?? 1) : 1,
  })
  const batchTokens = (await ranks?.broadcast(own)) ?? own
  if (run !== null) session.note(`batchTokens: ${batchTokens}, what free memory has room for`)
  return { ...settings, batchTokens }
}
