import type { ModelInfo, TokenRows } from '../../ts/addon/native.js'
import { fromTokenRows } from '../../ts/addon/rows.js'
import type { ScoringModel } from '../../ts/addon/score-batcher.js'

export const EXACT_HEADS = 3
/** A token that no forward survives. */
export const POISON = 99

/** What the exact scorer gives a row, whatever is beside it: [heads]. */
export function exactScores(ids: ArrayLike<number>): number[] {
  const state = Array.from(ids).reduce((hash, id) => (Math.imul(hash, 31) + id) | 0, 17)
  return Array.from({ length: EXACT_HEADS }, (_, head) => Math.fround(Math.sin(state * (head + 1))))
}

/** A scorer without rounding, which writes down what it was asked and can be made to wait. */
export class ExactScorer implements ScoringModel {
  /** Lengths of the rows of every forward. */
  readonly forwards: number[][] = []
  #gate: Promise<void> | null = null

  /** Forwards end only once the function that it returns is called. */
  hold(): () => void {
    let open = () => {}
    this.#gate = new Promise((resolve) => {
      open = resolve
    })
    return () => {
      this.#gate = null
      open()
    }
  }

  info(): ModelInfo {
    return { vocabSize: 100, maxPositions: 40, numLabels: EXACT_HEADS } as ModelInfo
  }

  async score(rows: TokenRows): Promise<Float32Array> {
    this.forwards.push([...rows.lengths])
    await this.#gate
    if (rows.ids.includes(POISON)) throw Object.assign(new Error('poisoned'), { code: 'E_NON_FINITE' })
    return Float32Array.from(fromTokenRows(rows).flatMap(exactScores))
  }
}
