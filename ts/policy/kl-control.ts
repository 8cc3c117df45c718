import type { KlControlSettings } from './settings.js'

export type KlControllerState = { value: number }

/** The KL coefficient over the steps: fixed, or classic TRL's adaptive controller (Ziegler et al. 2019, section 2.2). */
export class KlController {
  readonly #settings: KlControlSettings
  #value: number

  constructor(settings: KlControlSettings, state?: KlControllerState) {
    this.#settings = settings
    this.#value = state?.value ?? settings.initial
  }

  get value(): number {
    return this.#value
  }

  get state(): KlControllerState {
    return { value: this.#value }
  }

  /** value *= 1 + clip(kl / target - 1, +-0.2) * responses / horizon, after each step of a batch of `responses`. */
  update(kl: number, responses: number): void {
    const { adaptive, target, horizon } = this.#settings
    if (!adaptive) return
    const error = Math.min(0.2, Math.max(-0.2, kl / target - 1))
    this.#value *= 1 + (error * responses) / horizon
  }
}
