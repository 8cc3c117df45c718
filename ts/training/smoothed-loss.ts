import type { StopAt } from './settings.js'

export type SmoothedLossState = { average: number; count: number }

/** Exponential moving average with bias correction (the first value stands for itself), and the loss at which training ends. */
export class SmoothedLoss {
  readonly #stopAt: StopAt | undefined
  readonly #weight: number
  #average: number
  #count: number

  constructor(stopAt: StopAt | undefined, state: SmoothedLossState = { average: 0, count: 0 }) {
    this.#stopAt = stopAt
    this.#weight = stopAt?.smoothing ?? 0.95
    this.#average = state.average
    this.#count = state.count
  }

  get state(): SmoothedLossState {
    return { average: this.#average, count: this.#count }
  }

  /** NaN before the first loss. */
  get value(): number {
    return this.#average / (1 - this.#weight ** this.#count)
  }

  /** A bias-corrected average of few values is noise: as many as the average remembers must have come. */
  get reached(): boolean {
    if (this.#stopAt === undefined || this.#count < Math.round(1 / (1 - this.#weight))) return false
    return this.value <= this.#stopAt.loss
  }

  add(loss: number): void {
    this.#average = this.#weight * this.#average + (1 - this.#weight) * loss
    this.#count++
  }
}
