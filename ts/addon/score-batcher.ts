import { argumentError, PrudentError } from '../errors.js'
import { abortError, callNative, callNativeSync, checkCallOptions } from './call.js'
import { DEFAULT_BATCH_TOKENS } from './model.js'
import type { NativeModel, TokenRows } from './native.js'
import { type RewardModel, type RowScore, rowScores } from './reward-model.js'
import { describe, type TokenIds, toTokenRows } from './rows.js'
import { rowsOfSlices, ScoreLine, type Slice } from './score-line.js'

/** How requests are put together, and how many may wait. */
export interface ScoreBatcherOptions {
  /** Tokens of one forward (default 8192). A request of more is divided over several; one row is never divided. */
  maxBatchTokens?: number
  /** Longest that a request waits for others to share its forward with, in milliseconds (default 2). */
  maxWaitMs?: number
  /** Requests that may wait (default 1024); one more is E_BUSY. */
  maxWaitingRequests?: number
  /** Tokens that may wait (default 2^22); a request beyond is E_BUSY unless nothing else waits. */
  maxWaitingTokens?: number
  /**
   * Every forward is cut from one request alone, as if nobody else were there (default false). Scores are then the same to the last bit
   * whatever else is asked meanwhile; mixed forwards agree within rounding, because matrix products may round differently at another size.
   */
  fixedShapes?: boolean
}

/** When a request is no longer wanted. */
export interface ScoreRequestOptions {
  /** Rejects with AbortError, code E_CANCELLED, at once; those who share the forward do not notice. */
  signal?: AbortSignal | undefined
  /** Milliseconds from now after which the request rejects with E_TIMEOUT. */
  timeoutMs?: number | undefined
}

/** Rows of token ids to be scored. */
export interface ScoreRows {
  ids: readonly TokenIds[]
}

/** What has been computed so far. */
export interface ScoreBatcherStatistics {
  forwards: number
  /** Requests that were answered. */
  requests: number
  rows: number
  tokens: number
  /** Requests that wait now. */
  waiting: number
}

/** What a batcher needs of a sequence classifier. */
export type ScoringModel = Pick<NativeModel, 'info' | 'score'>

/** Beyond, a timer ends at once. */
const LONGEST_MS = 2 ** 31 - 1

interface Request {
  readonly rows: TokenRows
  readonly member: ScoreBatcherMember | null
  /** performance.now() after which it waits for nobody. */
  readonly due: number
  next: number
  nextId: number
  alone: boolean
  values: Float32Array | null
  /** Rows whose scores are in `values`. */
  scored: number
  settled: boolean
  settle(outcome: { values: Float32Array } | { error: unknown }): void
}

interface Forward {
  slices: Slice<Request>[]
  cancel: AbortController
}

/**
 * One reward model, many callers: requests that come within `maxWaitMs` are scored in one forward. While a forward runs, what comes
 * waits and shares the next one, so that under load nobody waits for a timer. A forward begins as soon as `maxBatchTokens` wait, the
 * model is idle and the oldest request has waited, or every member (`join()`) has asked.
 *
 * A request that is aborted, late or wrong rejects alone. Long requests take turns with the others.
 *
 * @example
 * ```ts
 * import { RewardModel, ScoreBatcher } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model')
 * await using batcher = new ScoreBatcher(model, { maxWaitMs: 5 })
 * const requests = [[[2, 11]], [[2, 12], [2, 13]], [[2, 14]]]
 * const answers = await Promise.all(requests.map((ids) => batcher.score({ ids }, { timeoutMs: 10_000 })))
 * console.log(answers.map((rows) => rows.length).join()) // 1,2,1
 * // Three requests, one forward.
 * console.log(batcher.statistics.forwards) // 1
 * ```
 */
export class ScoreBatcher {
  /** Whether every forward is cut from one request alone. */
  readonly fixedShapes: boolean
  readonly #model: ScoringModel
  readonly #maxBatchTokens: number
  readonly #maxWaitMs: number
  readonly #maxWaitingRequests: number
  readonly #maxWaitingTokens: number
  readonly #line = new ScoreLine<Request>()
  readonly #members = new Set<ScoreBatcherMember>()
  readonly #statistics = { forwards: 0, requests: 0, rows: 0, tokens: 0 }
  #running: Promise<void> | null = null
  #forward: Forward | null = null
  #timer: NodeJS.Timeout | null = null
  #disposed = false

  /** @param model stays its owner's: it is not disposed of with the batcher. */
  constructor(model: RewardModel | ScoringModel, options?: ScoreBatcherOptions) {
    this.#model = scoringModelOf(model)
    this.fixedShapes = options?.fixedShapes ?? false
    this.#maxBatchTokens = atLeast('maxBatchTokens', options?.maxBatchTokens ?? DEFAULT_BATCH_TOKENS, 1)
    this.#maxWaitMs = atLeast('maxWaitMs', options?.maxWaitMs ?? 2, 0)
    this.#maxWaitingRequests = atLeast('maxWaitingRequests', options?.maxWaitingRequests ?? 1024, 1)
    this.#maxWaitingTokens = atLeast('maxWaitingTokens', options?.maxWaitingTokens ?? 2 ** 22, 1)
  }

  /** What it has done so far. */
  get statistics(): ScoreBatcherStatistics {
    return { ...this.#statistics, waiting: this.#line.requests.length }
  }

  /** A caller that asks again and again, and is waited for: a forward begins early when all members have asked. */
  join(): ScoreBatcherMember {
    const leave = (self: ScoreBatcherMember) => {
      this.#members.delete(self)
      this.#advance()
    }
    const member = new ScoreBatcherMember(this.#request.bind(this), leave, () => this.#model.info())
    this.#members.add(member)
    return member
  }

  /**
   * Scores rows of token ids as they are (no BOS is added), each at its last token.
   * @throws E_RANGE, E_SHAPE, E_TOO_LONG naming the row; E_BUSY, E_CANCELLED, E_TIMEOUT, E_DISPOSED
   */
  async score(input: ScoreRows, options?: ScoreRequestOptions): Promise<RowScore[]> {
    return rowScores(await this.#request(input, options, null), input.ids.length, this.#model.info())
  }

  /** The same as one array, [rows, heads + spread] row-major: see `ModelInfo.spread`. */
  scoreValues(input: ScoreRows, options?: ScoreRequestOptions): Promise<Float32Array> {
    return this.#request(input, options, null)
  }

  /** Stops new requests (E_DISPOSED), cancels those that wait (E_CANCELLED), awaits the running forward. Safe to call twice. */
  async dispose(): Promise<void> {
    this.#disposed = true
    this.#stopTimer()
    for (const request of [...this.#line.requests]) this.#drop(request, cancelled('the batcher was disposed of'))
    await this.#running
  }

  /** `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  async #request(
    input: ScoreRows,
    options: ScoreRequestOptions | undefined,
    member: ScoreBatcherMember | null,
  ): Promise<Float32Array> {
    const { signal, timeoutMs } = options ?? {}
    checkCallOptions({ signal })
    if (this.#disposed) throw new PrudentError('E_DISPOSED', 'ScoreBatcher: it was disposed of')
    if (signal?.aborted) throw abortError(signal)
    if (timeoutMs !== undefined) atLeast('timeoutMs', timeoutMs, 0)
    const rows = toTokenRows(input?.ids, 'ids')
    if (rows.lengths.length === 0) return new Float32Array(0)
    checkRows(
      rows,
      callNativeSync(() => this.#model.info()),
    )
    this.#checkRoom(rows)
    return this.#enqueue(rows, { signal, timeoutMs }, member)
  }

  #checkRoom(rows: TokenRows): void {
    const { length } = this.#line.requests
    if (length >= this.#maxWaitingRequests)
      throw argumentError('E_BUSY', 'score', `at most ${this.#maxWaitingRequests} waiting requests`, String(length + 1))
    const tokens = this.#line.tokens + rows.ids.length
    if (length > 0 && tokens > this.#maxWaitingTokens)
      throw argumentError('E_BUSY', 'score', `at most ${this.#maxWaitingTokens} waiting tokens`, String(tokens))
  }

  #enqueue(
    rows: TokenRows,
    { signal, timeoutMs }: ScoreRequestOptions,
    member: ScoreBatcherMember | null,
  ): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      // Half of its time at most is spent on waiting for company.
      const wait = Math.min(this.#maxWaitMs, (timeoutMs ?? Number.POSITIVE_INFINITY) / 2)
      const onAbort = () => this.#drop(request, abortError(signal as AbortSignal))
      const onTimeout = () => this.#drop(request, new PrudentError('E_TIMEOUT', `no score within ${timeoutMs} ms`))
      const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, Math.min(timeoutMs, LONGEST_MS))
      const request: Request = {
        ...{ rows, member, due: performance.now() + wait, next: 0, nextId: 0, alone: false, values: null, scored: 0 },
        settled: false,
        settle(outcome) {
          request.settled = true
          clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          if ('error' in outcome) reject(outcome.error)
          else resolve(outcome.values)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#line.add(request)
      this.#advance()
    })
  }

  /** Rejects one request and lets the others go on. */
  #drop(request: Request, error: unknown): void {
    this.#line.remove(request)
    request.settle({ error })
    if (this.#forward?.slices.every((slice) => slice.request.settled)) this.#forward.cancel.abort()
    this.#advance()
  }

  /** Begins the next forward if one is due; sets the timer for it otherwise. */
  #advance(): void {
    this.#stopTimer()
    if (this.#running !== null || this.#line.requests.length === 0) return
    const wait = this.#remainingWait()
    if (wait > 0) this.#timer = setTimeout(() => this.#advance(), Math.min(wait, LONGEST_MS))
    else this.#running = this.#run()
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #remainingWait(): number {
    if (this.fixedShapes || this.#line.tokens >= this.#maxBatchTokens || this.#allMembersWait()) return 0
    const due = this.#line.requests.reduce((first, request) => Math.min(first, request.due), Number.POSITIVE_INFINITY)
    return due - performance.now()
  }

  #allMembersWait(): boolean {
    if (this.#members.size === 0) return false
    const waiting = new Set(this.#line.requests.map((request) => request.member))
    return [...this.#members].every((member) => waiting.has(member))
  }

  async #run(): Promise<void> {
    // What is asked at the same moment comes along.
    await Promise.resolve()
    while (this.#line.requests.length > 0 && this.#remainingWait() <= 0) {
      const forward = {
        slices: this.#line.take(this.#maxBatchTokens, !this.fixedShapes),
        cancel: new AbortController(),
      }
      this.#forward = forward
      await this.#compute(forward)
      this.#forward = null
    }
    this.#running = null
    this.#advance()
  }

  async #compute({ slices, cancel }: Forward): Promise<void> {
    const rows = rowsOfSlices(slices)
    const batch = { batchTokens: this.#maxBatchTokens }
    try {
      const values = await callNative({ signal: cancel.signal }, (call) => this.#model.score(rows, batch, call))
      this.#statistics.forwards += 1
      this.#statistics.rows += rows.lengths.length
      this.#statistics.tokens += rows.ids.length
      this.#share(slices, values, values.length / rows.lengths.length)
    } catch (error) {
      this.#fail(slices, error)
    }
  }

  #share(slices: readonly Slice<Request>[], values: Float32Array, heads: number): void {
    let at = 0
    for (const { request, first, last } of slices) {
      const own = values.subarray(at, at + (last - first) * heads)
      at += own.length
      if (request.settled) continue
      const size = request.rows.lengths.length * heads
      request.values ??= new Float32Array(size)
      if (request.values.length !== size) {
        this.#drop(request, new PrudentError('E_STATE', 'score: the model was given other heads meanwhile'))
        continue
      }
      request.values.set(own, first * heads)
      request.scored += last - first
      if (request.scored < request.rows.lengths.length) continue
      this.#statistics.requests += 1
      request.settle({ values: request.values })
    }
  }

  /** A forward of several requests fails for one reason, and each is tried by itself: only the one to blame rejects. */
  #fail(slices: readonly Slice<Request>[], error: unknown): void {
    const live = slices.filter((slice) => !slice.request.settled)
    if (slices.length === 1 || this.#disposed) {
      for (const { request } of live) this.#drop(request, error)
      return
    }
    for (const slice of [...live].reverse()) {
      slice.request.alone = true
      this.#line.putBack(slice)
    }
  }
}

/**
 * One of several callers of a batcher, made by `ScoreBatcher.join()`: a forward begins early once all of them have asked.
 *
 * @example
 * ```ts
 * import { RewardModel, ScoreBatcher, type ScoreBatcherMember } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model')
 * await using batcher = new ScoreBatcher(model, { maxWaitMs: 60_000 })
 * const members: ScoreBatcherMember[] = [batcher.join(), batcher.join()]
 * // Both have asked, so that nobody waits for a minute.
 * const answers = await Promise.all(members.map((member) => member.score({ ids: [[2, 11]] })))
 * console.log(answers.length, batcher.statistics.forwards) // 2 1
 * for (const member of members) member.leave()
 * ```
 */
export class ScoreBatcherMember {
  readonly #request: MemberRequest
  readonly #leave: (member: ScoreBatcherMember) => void
  readonly #info: ScoringModel['info']

  /** @internal `ScoreBatcher.join()` makes them. */
  constructor(request: MemberRequest, leave: (member: ScoreBatcherMember) => void, info: ScoringModel['info']) {
    this.#request = request
    this.#leave = leave
    this.#info = info
  }

  /** As `ScoreBatcher.score`. */
  async score(input: ScoreRows, options?: ScoreRequestOptions): Promise<RowScore[]> {
    return rowScores(await this.#request(input, options, this), input.ids.length, this.#info())
  }

  /** As `ScoreBatcher.scoreValues`. */
  scoreValues(input: ScoreRows, options?: ScoreRequestOptions): Promise<Float32Array> {
    return this.#request(input, options, this)
  }

  /** Nobody waits for it any more; what it has asked is answered all the same. Safe to call twice. */
  leave(): void {
    this.#leave(this)
  }
}

type MemberRequest = (
  input: ScoreRows,
  options: ScoreRequestOptions | undefined,
  member: ScoreBatcherMember,
) => Promise<Float32Array>

/** Before a request meets others: what is wrong with it must reject it alone. */
function checkRows({ ids, lengths }: TokenRows, { vocabSize, maxPositions }: ReturnType<ScoringModel['info']>): void {
  let at = 0
  for (const [row, length] of lengths.entries()) {
    if (length > maxPositions)
      throw argumentError('E_TOO_LONG', `ids[${row}]`, `at most ${maxPositions} tokens`, String(length))
    for (let position = 0; position < length; position++, at++) {
      const id = ids[at] as number
      if (id >= vocabSize)
        throw argumentError('E_RANGE', `ids[${row}][${position}]`, `a token id below ${vocabSize}`, String(id))
    }
  }
}

/** @throws E_TYPE */
export function scoringModelOf(model: RewardModel | ScoringModel): ScoringModel {
  const found = model instanceof Object && 'native' in model ? model.native : model
  if (typeof found?.info === 'function') return found
  throw argumentError('E_TYPE', 'model', 'a RewardModel', describe(model))
}

function atLeast(argument: string, value: number, least: number): number {
  if (!(value >= least)) throw argumentError('E_RANGE', argument, `a number >= ${least}`, String(value))
  return value
}

function cancelled(reason: string): PrudentError {
  return new PrudentError('E_CANCELLED', reason, { argument: 'score' })
}
