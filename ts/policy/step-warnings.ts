/** Statistics that say that something is wrong, each told once a run. */
export class StepWarnings {
  readonly #tell: (message: string) => void
  readonly #told = new Set<string>()

  constructor(tell: (message: string) => void) {
    this.#tell = tell
  }

  check(step: number, stats: Readonly<Record<string, number>>, settings: { ratioThreshold: number }): void {
    const {
      'objective/kl': kl,
      'ppo/policy/ratio': ratio,
      'ppo/std_scores': spread,
      'tokens/responses_len_mean': length,
    } = stats
    if (kl !== undefined && kl < -1) {
      const why = 'responses must be drawn from the policy itself: temperature 1, no top-k, no top-p, no minimum length'
      this.#once('kl', `step ${step}: the mean KL is ${kl.toFixed(2)}, below -1; ${why}`)
    }
    if (ratio !== undefined && ratio > settings.ratioThreshold) {
      this.#once(
        'ratio',
        `step ${step}: the mean ratio is ${ratio.toFixed(1)}, above ratioThreshold; losses of such mini-batches count as 0`,
      )
    }
    if (spread === 0)
      this.#once('spread', `step ${step}: all responses have the same score: there is nothing to learn from`)
    if (length !== undefined && length < 1.5)
      this.#once('length', `step ${step}: responses have ${length.toFixed(1)} tokens in the mean`)
  }

  /** Sampling that makes the KL estimate wrong, before the first step. */
  checkSampling(sampling: { temperature: number; topK: number; topP: number; minNewTokens: number }): void {
    const { temperature, topK, topP, minNewTokens } = sampling
    if (temperature === 1 && topK === 0 && topP === 1 && minNewTokens === 0) return
    this.#once(
      'sampling',
      'responses are not drawn from the policy itself (temperature, top-k, top-p or minimum length): KL may come out negative',
    )
  }

  #once(kind: string, message: string): void {
    if (this.#told.has(kind)) return
    this.#told.add(kind)
    this.#tell(message)
  }
}
