/** Requests that wait for a forward, and how forwards are cut from them. Knows nothing of time, models or promises. */
import type { TokenRows } from './native.js'

/** Rows of one caller, handed out from the first to the last, in one forward or in several. */
export interface WaitingRows {
  readonly rows: TokenRows
  /** First row that no forward has taken yet, and where its ids begin. */
  next: number
  nextId: number
  /** Shares no forward with others. */
  alone: boolean
}

/** Consecutive rows of one request inside a forward. */
export interface Slice<R extends WaitingRows> {
  request: R
  first: number
  last: number
  firstId: number
  lastId: number
}

/**
 * First come, first served, by turns: a request that a forward could not take whole goes on at the end of the line, so that a long one
 * delays the others by one forward and no more.
 */
export class ScoreLine<R extends WaitingRows> {
  #waiting: R[] = []
  #tokens = 0

  get requests(): readonly R[] {
    return this.#waiting
  }

  /** Tokens that no forward has taken yet. */
  get tokens(): number {
    return this.#tokens
  }

  add(request: R): void {
    this.#waiting.push(request)
    this.#tokens += tokensLeft(request)
  }

  /** Gives rows back that a forward had taken: they are next. */
  putBack(slice: Slice<R>): void {
    const { request } = slice
    this.remove(request)
    request.next = slice.first
    request.nextId = slice.firstId
    this.#waiting.unshift(request)
    this.#tokens += tokensLeft(request)
  }

  remove(request: R): void {
    if (!this.#waiting.includes(request)) return
    this.#waiting = this.#waiting.filter((other) => other !== request)
    this.#tokens -= tokensLeft(request)
  }

  /**
   * The rows of the next forward, at most `maxTokens` tokens or one row of more. With `mix` off they are of one request: the same cuts that
   * this request has when nobody else is there.
   */
  take(maxTokens: number, mix: boolean): Slice<R>[] {
    const [head, ...others] = this.#waiting
    if (head === undefined) return []
    const slices: Slice<R>[] = []
    let room = maxTokens
    const takeFrom = (request: R) => {
      const slice = cut(request, room, slices.length === 0)
      if (slice === null) return
      slices.push(slice)
      room -= slice.lastId - slice.firstId
      this.#tokens -= slice.lastId - slice.firstId
    }
    takeFrom(head)
    if (mix && !head.alone) for (const request of others) if (!request.alone && room > 0) takeFrom(request)
    const begun = new Set(slices.map((slice) => slice.request))
    const left = [...begun].filter((request) => request.next < request.rows.lengths.length)
    this.#waiting = [...this.#waiting.filter((request) => !begun.has(request)), ...left]
    return slices
  }
}

const tokensLeft = ({ rows, nextId }: WaitingRows): number => rows.ids.length - nextId

/** As many rows as fit; the first of a forward fits always. */
function cut<R extends WaitingRows>(request: R, room: number, empty: boolean): Slice<R> | null {
  const { next: first, nextId: firstId } = request
  const { lengths } = request.rows
  let [last, lastId] = [first, firstId]
  while (last < lengths.length) {
    const length = lengths[last] as number
    if (lastId - firstId + length > room && !(empty && last === first)) break
    last += 1
    lastId += length
  }
  if (last === first) return null
  request.next = last
  request.nextId = lastId
  return { request, first, last, firstId, lastId }
}

/** The rows of a forward, laid end to end. */
export function rowsOfSlices(slices: readonly Slice<WaitingRows>[]): TokenRows {
  const ids = new Int32Array(slices.reduce((sum, slice) => sum + slice.lastId - slice.firstId, 0))
  const lengths = new Int32Array(slices.reduce((sum, slice) => sum + slice.last - slice.first, 0))
  let [id, row] = [0, 0]
  for (const { request, first, last, firstId, lastId } of slices) {
    ids.set(request.rows.ids.subarray(firstId, lastId), id)
    lengths.set(request.rows.lengths.subarray(first, last), row)
    id += lastId - firstId
    row += last - first
  }
  return { ids, lengths }
}
