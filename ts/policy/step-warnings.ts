/** Steps in a row with a KL below zero before it is told: single ones are the noise of an estimate from few responses. */
const NEGATIVE_STEPS = 5
/** Share of the first step's entropy below which the policy says the same thing whatever the draw. */
const COLLAPSED = 0.1

/** Statistics that say that something is wrong, each told once a run with what to change. */
export class StepWarnings {
  readonly #tell: (message: string) => void
  readonly #told = new Set<string>()
  #negativeSteps = 0
  #firstEntropy: number | null = null

  constructor(tell: (message: string) => void) {
    this.#tell = tell
  }

  check(step: number, stats: Readonly<Record<string, number>>, settings: { ratioThreshold: number }): void {
    const { 'ppo/std_scores': spread, 'tokens/responses_len_mean': length } = stats
    this.#checkKl(step, stats['objective/kl'])
    this.#checkRatio(step, stats['ppo/policy/ratio'], settings.ratioThreshold)
    this.#checkEntropy(step, stats['ppo/policy/entropy'])
    if (spread === 0)
      this.#once('spread', `step ${step}: all responses have the same score: there is nothing to learn from`)
    if (length !== undefined && length < 1.5)
      this.#once('length', `step ${step}: responses have ${length.toFixed(1)} tokens in the mean`)
  }

  #checkKl(step: number, kl: number | undefined): void {
    if (kl === undefined) return
    const why = 'responses must be drawn from the policy itself: temperature 1, no top-k, no top-p, no minimum length'
    if (kl < -1) this.#once('kl', `step ${step}: the mean KL is ${kl.toFixed(2)}, below -1; ${why}`)
    this.#negativeSteps = kl < 0 ? this.#negativeSteps + 1 : 0
    if (this.#negativeSteps < NEGATIVE_STEPS) return
    const estimator = 'kl.estimator: full, which is never below zero, tells whether it is noise of few responses'
    this.#once(
      'kl',
      `step ${step}: the mean KL was below zero in ${NEGATIVE_STEPS} steps in a row; ${why}; ${estimator}`,
    )
  }

  #checkRatio(step: number, ratio: number | undefined, threshold: number): void {
    if (ratio === undefined || !(ratio > threshold)) return
    const change = 'lower optimiser.lr or ppoEpochs, or set earlyStopping: true'
    const message = `step ${step}: the mean ratio is ${ratio.toFixed(1)}, above ratioThreshold; losses of such mini-batches count as 0; ${change}`
    this.#once('ratio', message)
  }

  #checkEntropy(step: number, entropy: number | undefined): void {
    if (entropy === undefined) return
    this.#firstEntropy ??= entropy
    if (!(entropy < COLLAPSED * this.#firstEntropy)) return
    const change = 'raise kl.initial (or set kl.adaptive: true), or lower optimiser.lr'
    const numbers = `${entropy.toFixed(3)} nats a token, ${this.#firstEntropy.toFixed(3)} at the first step of this process`
    this.#once('entropy', `step ${step}: the policy has nearly stopped to explore (entropy ${numbers}); ${change}`)
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
