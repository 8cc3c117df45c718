import { basename, join } from 'node:path'
import { abortError, checkCallOptions } from '../addon/call.js'
import type { ModelInfo } from '../addon/native.js'
import { RewardModel, type RewardModelOptions, type RowScore } from '../addon/reward-model.js'
import { describe } from '../addon/rows.js'
import { ScoreBatcher, type ScoreBatcherStatistics, type ScoringModel, scoringModelOf } from '../addon/score-batcher.js'
import { parseOptions } from '../config/issues.js'
import { resolveModel } from '../data/model-files.js'
import { keepPrefix, type PrefixKeeper } from '../data/template-prefix.js'
import { Tokenizer } from '../data/tokenizer.js'
import { isObject, readJsonFile } from '../data/tokenizer-files.js'
import { argumentError, PrudentError } from '../errors.js'
import { type EncodeItemsOptions, ItemEncoder, type ScoreItem } from './item-encoder.js'
import { type ServiceOptions, type ServiceSettings, serviceSettings } from './settings.js'

/** How a service is loaded, and its limits. */
export interface LoadServiceOptions
  extends ServiceOptions,
    Pick<RewardModelOptions, 'dtype' | 'device' | 'int8' | 'signal'> {
  /** What clients call the model; default: the folder's name, or the hub id. */
  name?: string | undefined
  /** Branch, tag or commit of a hub id. */
  revision?: string | undefined
  /** Tokenizer folder or hub id; default: the model's. */
  tokenizer?: string | undefined
}

/** A service of parts that its owner has made. */
export interface ServiceParts {
  name: string
  model: RewardModel | ScoringModel
  tokenizer: Tokenizer | null
  /** Name of every output, where the model's config has them. */
  labels?: readonly string[]
  settings?: ServiceOptions
  /** Called at the end of `dispose`: what the service owns beside its parts. */
  release?: () => Promise<void>
}

/** What `score` gives. */
export interface ScoredItems {
  /** One an item, in order. */
  rows: RowScore[]
  /** Tokens of all items. */
  tokens: number
}

/** Weight of the last request in the mean time that requests take. */
const RECENT = 0.1

/**
 * A reward model that answers many callers: items are rendered, encoded, batched and scored; a bounded number of requests is at work at a
 * time and the rest is refused (E_BUSY). Knows nothing of HTTP.
 *
 * @example
 * ```ts
 * import { ScoringService } from 'prudent/fastify'
 *
 * await using service = await ScoringService.load('reward-model', { maxQueuedRequests: 32 })
 * const { rows } = await service.score([{ prompt: 'the', response: 'good' }, { text: 'a good answer' }])
 * console.log(rows.length, rows[0].std !== null) // 2 true
 * ```
 */
export class ScoringService {
  /** What clients call the model. */
  readonly name: string
  /** Of every head, where the model's config names them. */
  readonly labels: readonly string[]
  /** The limits, defaults filled in. */
  readonly settings: ServiceSettings
  readonly #model: ScoringModel
  readonly #encoder: ItemEncoder
  readonly #batcher: ScoreBatcher
  readonly #release: () => Promise<void>
  /** Requests at work, and how each is ended. */
  readonly #atWork = new Map<Promise<unknown>, AbortController>()
  #meanSeconds = 0
  #draining = false

  constructor(parts: ServiceParts) {
    const { name, model, tokenizer, labels = [], settings = {}, release = async () => {} } = parts ?? {}
    this.name = name
    this.labels = labels
    this.settings = parseOptions(serviceSettings, settings)
    this.#model = scoringModelOf(model)
    const { vocabSize, maxPositions } = this.#model.info()
    this.#encoder = new ItemEncoder(tokenizer, { ...this.settings, vocabSize, maxPositions })
    this.#batcher = new ScoreBatcher(this.#model, {
      maxBatchTokens: this.settings.maxBatchTokens,
      maxWaitMs: this.settings.maxWaitMs,
      maxWaitingRequests: this.settings.maxQueuedRequests,
      maxWaitingTokens: this.settings.maxQueuedTokens,
      fixedShapes: this.settings.fixedShapes,
    })
    this.#release = release
  }

  /**
   * Loads model and tokenizer of a Hugging Face folder or hub id; `dispose` frees them.
   * @throws E_CONFIG naming the setting; E_NOT_FOUND, E_HUB, E_OFFLINE and all that `RewardModel.load` throws
   */
  static async load(path: string, options?: LoadServiceOptions): Promise<ScoringService> {
    const { name, revision, tokenizer, dtype, device, int8 = false, signal, ...settings } = options ?? {}
    checkCallOptions({ signal })
    parseOptions(serviceSettings, settings)
    const { folder, revision: commit } = await resolveModel({ path, revision }, signal === undefined ? {} : { signal })
    const tokenizerFolder = tokenizer === undefined ? folder : (await resolveModel({ path: tokenizer })).folder
    const loaded = await Tokenizer.load(tokenizerFolder)
    const labels = await readLabels(folder)
    const model = await RewardModel.load(folder, {
      ...(dtype === undefined ? {} : { dtype }),
      ...(device === undefined ? {} : { device }),
      int8,
      signal,
    })
    const service = new ScoringService({
      name: name ?? (commit === null ? basename(folder) : path),
      model: model.native,
      tokenizer: loaded,
      labels: labels.slice(0, model.heads),
      settings,
      release: () => model.dispose(),
    })
    try {
      await service.#keepConstantPrefix(model.native, signal)
      return service
    } catch (error) {
      await service.dispose()
      throw error
    }
  }

  /** Before the first request, so that no score depends on when it was asked for. */
  async #keepConstantPrefix(model: PrefixKeeper, signal: AbortSignal | undefined): Promise<void> {
    await keepPrefix(model, await this.#encoder.constantPrefix(signal))
  }

  /** Of its model. */
  get info(): ModelInfo {
    return this.#model.info()
  }

  /** Tokens that one item may have. */
  get maxTokens(): number {
    return this.#encoder.maxTokens
  }

  /** Of its batcher, and the requests at work. */
  get statistics(): ScoreBatcherStatistics & { inFlight: number } {
    return { ...this.#batcher.statistics, inFlight: this.#atWork.size }
  }

  /** Whether it takes requests. */
  get ready(): boolean {
    return !this.#draining
  }

  /** Seconds after which a refused caller may try again: the time that a request took lately. */
  get retryAfterSeconds(): number {
    return Math.min(60, Math.max(1, Math.ceil(this.#meanSeconds)))
  }

  /**
   * Scores of every item, in order.
   * @throws E_BUSY, E_DATA, E_TOO_LONG, E_RANGE, E_NON_FINITE, E_TIMEOUT, E_CANCELLED, E_DISPOSED
   */
  async score(items: readonly ScoreItem[], options?: EncodeItemsOptions): Promise<ScoredItems> {
    checkCallOptions(options)
    if (!Array.isArray(items)) throw argumentError('E_TYPE', 'items', 'an array of items', describe(items))
    if (this.#draining) throw new PrudentError('E_DISPOSED', 'the service is shutting down')
    const { maxQueuedRequests, maxItems } = this.settings
    if (items.length > maxItems)
      throw argumentError('E_SHAPE', 'items', `at most ${maxItems} of a request`, String(items.length))
    if (this.#atWork.size >= maxQueuedRequests)
      throw argumentError('E_BUSY', 'service', `at most ${maxQueuedRequests} requests at a time`, 'one more')
    // A controller a request: AbortSignal.any over a signal that lives as long as the service keeps something of every request.
    const stop = new AbortController()
    const signal = options?.signal
    const onAbort = () => stop.abort(signal?.reason)
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    const work = this.#score(items, { ...options, signal: stop.signal })
    this.#atWork.set(work, stop)
    try {
      return await work
    } catch (error) {
      // The reason (a deadline, a shutdown, a client that went away) says more than that the call was aborted.
      if (isCancelled(error) && stop.signal.reason instanceof PrudentError) throw stop.signal.reason
      throw error
    } finally {
      this.#atWork.delete(work)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #score(items: readonly ScoreItem[], options: EncodeItemsOptions): Promise<ScoredItems> {
    const { signal } = options
    if (signal?.aborted) throw abortError(signal)
    const started = performance.now()
    const ids = await this.#encoder.encode(items, options)
    const rows = await this.#batcher.score({ ids }, { signal })
    rows.forEach(checkFinite)
    const seconds = (performance.now() - started) / 1000
    this.#meanSeconds += RECENT * (seconds - this.#meanSeconds)
    return { rows, tokens: ids.reduce((sum, row) => sum + row.length, 0) }
  }

  /** Refuses new requests (E_DISPOSED) and waits until those at work are done. */
  async drain(): Promise<void> {
    this.#draining = true
    await Promise.allSettled(this.#atWork.keys())
  }

  /** Refuses new requests, cancels those at work (E_CANCELLED) and frees the model. Safe to call twice. */
  async dispose(): Promise<void> {
    this.#draining = true
    const reason = new PrudentError('E_DISPOSED', 'the service is shutting down')
    for (const stop of this.#atWork.values()) stop.abort(reason)
    await this.#batcher.dispose()
    await this.#encoder.dispose()
    await Promise.allSettled(this.#atWork.keys())
    await this.#release()
  }

  /** `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}

/** The outputs' names in the order of their numbers. */
async function readLabels(folder: string): Promise<string[]> {
  const config = await readJsonFile(join(folder, 'config.json'))
  const named = isObject(config?.id2label) ? config.id2label : {}
  return Object.keys(named)
    .sort((a, b) => Number(a) - Number(b))
    .map((key) => String(named[key]))
}

function isCancelled(error: unknown): boolean {
  return error instanceof PrudentError && error.code === 'E_CANCELLED'
}

function checkFinite({ scores }: RowScore, index: number): void {
  const head = scores.findIndex((score) => !Number.isFinite(score))
  if (head < 0) return
  const received = String(scores[head])
  throw new PrudentError('E_NON_FINITE', `item ${index}: head ${head} gave ${received}`, { received })
}
