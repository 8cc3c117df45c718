/**
 * The whole native surface, typed in one place. A test holds the addon's real export list against it.
 * Conventions: token ids and lengths go in as Int32Array (rows laid end to end), scores and statistics come out as
 * Float32Array or plain objects. Every method that computes returns a Promise, copies its inputs at the call, and takes
 * `call` last: a cancel token and a progress callback. Errors are plain Errors with { code, argument, expected, received }.
 */

export type Dtype = 'float32' | 'bfloat16'
/** Rows of token ids laid end to end: `ids.length === sum(lengths)`, every length >= 1. */
export interface TokenRows {
  ids: Int32Array
  lengths: Int32Array
}

export interface NativeCancelToken {
  cancel(): void
}
export interface NativeCall {
  token?: NativeCancelToken
  progress?: (done: number, total: number) => void
}

export interface SystemInfo {
  prudent: string
  libtorch: string
  libtorchBuilt: string
  napi: number
  cpu: { capability: 'baseline' | 'avx2' | 'avx512'; bf16: boolean; model: string; cores: number }
  threads: { lanes: number; threadsPerLane: number }
  cuda: { built: boolean; devices: { index: number; name: string; memoryBytes: number; capability: string }[] }
  /** Bit-exact runs on CUDA: see configureExecutor. */
  deterministic: boolean
  distributed: { gloo: boolean; nccl: boolean }
}

export interface LoadModelOptions {
  task: 'causal-lm' | 'sequence-classification'
  /** 'auto': bfloat16 only where the device multiplies it natively. */
  dtype: Dtype | 'auto'
  device: string
  /** Build a head that the folder lacks, N(0, 0.02^2), seeded. */
  allowNewHead?: boolean
  numLabels?: number
  seed?: number
}

export interface ModelInfo {
  architecture: 'gemma' | 'llama' | 'gpt2'
  task: 'causal-lm' | 'sequence-classification'
  dtype: Dtype
  device: string
  vocabSize: number
  hiddenSize: number
  layers: number
  heads: number
  kvHeads: number
  headDim: number
  maxPositions: number
  /** Reward heads: the first columns of `score`. */
  numLabels: number
  /** Columns of `score` after the heads, whose sum of squares is the variance of the reward; 0: sigma is taken over the heads. */
  spread: number
  hasValueHead: boolean
  parameterCount: number
  parameterBytes: number
  bosTokenId: number | null
  eosTokenIds: number[]
  padTokenId: number | null
}

export interface BatchOptions {
  /** Upper bound of tokens in one forward; rows are sorted into such micro-batches and put back in order. */
  batchTokens: number
}

/** Forwards that may share what rows begin with. */
export interface PrefixOptions extends BatchOptions {
  /**
   * What rows have in common at their beginning (a prompt, a chat template's constant part) is computed once; default true. Results
   * agree within rounding.
   */
  sharePrefixes?: boolean
}

/** Layers count from 1 and ascend; each goes through the model's final norm. Default: the last alone. */
export interface FeatureOptions extends PrefixOptions {
  layers?: Int32Array
}

/** Of a weight [heads + spread, layers * hidden]. */
export interface ReadoutShape {
  heads: number
  spread?: number
  layers?: Int32Array
}

export interface GenerateOptions extends BatchOptions {
  maxNewTokens: number
  minNewTokens?: number
  eosTokenIds: number[]
  greedy: boolean
  temperature: number
  topK: number
  topP: number
  seed: number
  /** One key a row (default 0, 1, 2 …): a row's random numbers depend on (seed, key, position) alone. */
  rowKeys?: Float64Array
}

/** Work that ranks may share: each computes a part of the micro-batches, all get all results. */
export interface SharedWorkOptions extends PrefixOptions {
  group?: NativeProcessGroup | undefined
}

export interface NativeModel {
  info(): ModelInfo
  /** [rows, numLabels + spread], row-major. Sequence classifier only. */
  score(rows: TokenRows, options: SharedWorkOptions, call?: NativeCall): Promise<Float32Array>
  /** How many tokens `score` and `cacheFeatures` compute for these rows: fewer than there are where prefixes are shared. */
  computedTokens(rows: TokenRows, options: PrefixOptions, call?: NativeCall): Promise<number>
  /** Log-probability of every token after the first of each row: sum(lengths) - rows values. Causal LM only. */
  logprobs(rows: TokenRows, options: PrefixOptions, call?: NativeCall): Promise<Float32Array>
  generate(prompts: TokenRows, options: GenerateOptions, call?: NativeCall): Promise<TokenRows>
  /** Hidden states after the final norm, [sum(lengths), hidden]; for tests and probes. */
  hiddenStates(rows: TokenRows, options: BatchOptions, call?: NativeCall): Promise<Float32Array>
  /** [sum(lengths), vocab]; for tests and probes on small models. */
  logits(rows: TokenRows, options: BatchOptions, call?: NativeCall): Promise<Float32Array>
  /** Last-token features of every row, kept natively: [rows, hidden] fp32, or [rows, layers * hidden] of the given layers side by side. */
  cacheFeatures(
    rows: TokenRows,
    options: FeatureOptions & SharedWorkOptions,
    call?: NativeCall,
  ): Promise<NativeFeatureCache>
  /** score.weight [numLabels, hidden]. */
  scoreWeight(call?: NativeCall): Promise<Float32Array>
  /**
   * What scores in place of score.weight, in fp32: [heads + spread, layers * hidden] row-major, or null for score.weight again. It is
   * neither trained nor saved with the model, and a new score.weight takes it away. E_BUSY while a trainer of the weights is open.
   */
  setReadout(weight: Float32Array | null, options?: ReadoutShape): Promise<void>
  /** The same from a safetensors file with one tensor, `readout`. */
  loadReadout(file: string, options: ReadoutShape): Promise<void>
  /** E_STATE where there is none. */
  saveReadout(file: string, call?: NativeCall): Promise<void>
  /** n may differ from before. E_BUSY while a trainer of the weights is open. */
  setScoreWeight(weight: Float32Array, heads: number): Promise<void>
  /** The beginning that texts have in common from now on, kept by the model; empty: none. */
  setPrefix(ids: Int32Array): Promise<void>
  /** E_BUSY while a trainer of the weights is open. */
  addValueHead(seed: number): Promise<void>
  clone(): Promise<NativeModel>
  /**
   * Hugging Face folder (config.json, safetensors), written beside and renamed; `maxShardBytes` default 5e9. With `sync: false` it is left
   * to the caller to sync it to the disk.
   */
  save(folder: string, options?: { maxShardBytes?: number; sync?: boolean }, call?: NativeCall): Promise<void>
  dispose(): Promise<void>
}

export interface NativeFeatureCache {
  info(): { rows: number; hidden: number }
  /** Copy of [rows, hidden]. */
  toArray(call?: NativeCall): Promise<Float32Array>
  /** scores[rows, heads] of any weight [heads, hidden]. */
  score(weight: Float32Array, heads: number, call?: NativeCall): Promise<Float32Array>
  /** A copy of columns first … first + count - 1. */
  columns(first: number, count: number, call?: NativeCall): Promise<NativeFeatureCache>
  /** A Bayesian Bradley-Terry head on pairs of rows (native/training/laplace_head.h). */
  laplace(chosen: Int32Array, rejected: Int32Array, options: LaplaceFitOptions, call?: NativeCall): Promise<LaplaceFit>
  save(file: string): Promise<void>
  dispose(): Promise<void>
}

export interface LaplaceFitOptions {
  /** Of the prior N(0, 1 / priorPrecision) of every weight (default 1); where the search begins when `byEvidence`. */
  priorPrecision?: number
  /** Choose the precision that maximises the evidence (MacKay's fixed point). */
  byEvidence?: boolean
  /** Newton steps for one precision (default 50). */
  maxSteps?: number
}
export interface LaplaceFit {
  /** Mode of the posterior, [hidden]. */
  weights: Float32Array
  /** L^-1 of the Hessian H = L L', [hidden, hidden] row-major: the predictive variance of a row x is |factor x|^2. */
  factor: Float32Array
  priorPrecision: number
  /** ln of the Laplace approximation of the pairs' probability. */
  logEvidence: number
  /** Directions that the pairs determine: hidden - precision tr H^-1. */
  effectiveParameters: number
  newtonSteps: number
}

export interface AdamwOptions {
  beta1?: number
  beta2?: number
  eps?: number
  weightDecay?: number
  /** 'matrices' (default): neither biases nor norm gains, as the Hugging Face Trainer; 'all': as torch.optim.AdamW by itself. */
  weightDecayScope?: 'matrices' | 'all'
  /** Clip the global gradient norm; 0 or absent: off. */
  maxGradNorm?: number
  /**
   * Folder for a nameless file that holds the moments, and the master weights of bfloat16 parameters (CPU only): 8 or 12 bytes a
   * parameter of disk instead of memory. Absent or empty: memory.
   */
  stateFolder?: string
  /** The ranks that train together; each is given the whole batch and works on its share of it. */
  group?: NativeProcessGroup | undefined
  /**
   * With a group: each rank keeps moments and master weights of its share of the parameters (ZeRO-1). All ranks then call `saveState`,
   * those that do not write with an empty name. Default false.
   */
  shardStates?: boolean
}

/** The processes that train together. Collectives are called by all ranks in the same order; E_DISTRIBUTED names who is gone and why. */
export interface ProcessGroupOptions {
  rank: number
  size: number
  /** Of the store where ranks meet. */
  address: string
  port: number
  /** The launcher holds the store (torchrun) instead of rank 0. */
  launcherHoldsStore?: boolean
  /** Tells one start of the ranks from the next where the store outlives them. */
  attempt?: string
  /** Of the first meeting and of each collective; default 1800. */
  timeoutSeconds?: number
}
export interface NativeProcessGroup {
  info(): { rank: number; size: number }
  /** Of each value over all ranks. */
  sum(values: Float32Array): Promise<Float32Array>
  /** Rank 0's text. */
  broadcast(text: string): Promise<string>
  /** Tells the other ranks why this one ends, and closes the connections, so that they end too. */
  leave(reason: string): Promise<void>
  dispose(): Promise<void>
}

/** Trainer state (optimiser moments, step count, RNG): one safetensors file; bit-exact resume on the same device and threads. */
export interface NativeTrainer {
  /** With `sync: false` it is left to the caller to sync the file to the disk. */
  saveState(file: string, options?: { sync?: boolean }): Promise<void>
  loadState(file: string): Promise<void>
  dispose(): Promise<void>
}

export interface LanguageModelTrainerOptions extends AdamwOptions {
  /** Tokens in one micro-batch; gradients are accumulated over micro-batches. */
  batchTokens: number
  /** Keep the input of each block alone and run the block again in the backward: same gradients, less memory; default false. */
  activationCheckpointing?: boolean
  /**
   * Each parameter is updated inside the backward and its gradient dropped at once, so that gradients never stand side by side; default
   * false. With `maxGradNorm` the forward and backward run twice, first to measure. Not with a group.
   */
  updateInBackward?: boolean
}
export interface RewardTrainerOptions extends LanguageModelTrainerOptions {
  /** What both sides of a pair have in common at their beginning is computed once; default true. */
  sharePrefixes?: boolean
}
export interface NativeLanguageModelTrainer extends NativeTrainer {
  /** One optimiser step on next-token cross-entropy over all given rows. loss is nats per predicted token. */
  step(
    rows: TokenRows,
    options: { lr: number },
    call?: NativeCall,
  ): Promise<{ loss: number; gradNorm: number; tokens: number }>
}

export interface NativeRewardTrainer extends NativeTrainer {
  /** Full fine-tune Bradley-Terry step: mean over pairs of -ln sigmoid(chosen - rejected), summed over heads. */
  step(
    chosen: TokenRows,
    rejected: TokenRows,
    options: { lr: number },
    call?: NativeCall,
  ): Promise<{
    loss: number
    accuracy: number
    lossPerHead: Float32Array
    accuracyPerHead: Float32Array
    gradNorm: number
    tokens: number
    /** Of these, what the forwards computed: a pair's common prefix counts once. */
    computedTokens: number
  }>
}

export interface HeadsTrainerOptions extends AdamwOptions {
  heads: number
  /** Initial heads [heads, hidden]. */
  initial: Float32Array
  /** Strength of a ridge toward the initial heads (anchored ensembles), added per head as anchor / 2 * |h - h0|^2; default 0. */
  anchor?: number
}
export interface NativeHeadsTrainer extends NativeTrainer {
  /**
   * One optimiser step of all heads (independent losses). chosen/rejected: row numbers of the cache, [batch] shared by all heads or
   * [heads, batch] row-major when `perHead`.
   */
  step(
    chosen: Int32Array,
    rejected: Int32Array,
    options: { lr: number; perHead: boolean },
    call?: NativeCall,
  ): Promise<{
    lossPerHead: Float32Array
    accuracyPerHead: Float32Array
    gradNorm: number
    gradNormPerHead: Float32Array
  }>
  /** [heads, hidden], after the steps asked for so far. */
  weights(call?: NativeCall): Promise<Float32Array>
}

export type KlEstimator = 'kl' | 'abs' | 'mse' | 'full' | 'k3'
export interface PpoTrainerOptions extends AdamwOptions {
  ppoEpochs: number
  miniBatchSize: number
  /** Rows of one forward/backward inside a mini-batch (gradients are accumulated). */
  microBatchTokens: number
  gamma: number
  lambda: number
  clipRange: number
  clipRangeValue: number
  vfCoef: number
  ratioThreshold: number
  whitenAdvantages: boolean
  whitenRewards: boolean
  klEstimator: KlEstimator
  /**
   * Where old log-probs and values come from: a forward over the finished responses, as classic TRL does it, or the sampling itself,
   * which saves that forward and agrees with it up to rounding (`ppo/policy/first_ratio_error`).
   */
  oldLogprobs: 'forward' | 'sampling'
  /**
   * A rollout that is one mini-batch and one micro-batch keeps its evaluation, graph included, for the first update of its step:
   * one forward less a step, for the activations of that batch held between the two. The numbers are the same bit by bit.
   */
  shareForward: boolean
  /**
   * What prompts have in common at their beginning is computed once in every forward and backward, where that saves a sixteenth of
   * the tokens; results agree within rounding. Default true.
   */
  sharePrefixes?: boolean
  earlyStopping: boolean
  targetKl: number
  /** As of the other trainers; default false. */
  activationCheckpointing?: boolean
  updateInBackward?: boolean
}
export interface RolloutOptions extends GenerateOptions {}

/** Statistics under classic TRL's names. */
export interface PpoStats {
  [name: string]: number
}
export interface NativeRollout {
  /** Responses, EOS kept when drawn. */
  responses: TokenRows
  /** Per row: sum over response tokens of logprob - ref logprob. */
  klSums: Float32Array
  /** Per row: KL summed over tokens, exact over the vocabulary; empty unless asked for. */
  exactKlSums: Float32Array
  generateSeconds: number
  forwardSeconds: number
  dispose(): Promise<void>
}
export interface NativePpoTrainer extends NativeTrainer {
  /** Generate responses, then old log-probs, values and reference log-probs in evaluation mode. */
  rollout(
    prompts: TokenRows,
    options: RolloutOptions & { exactKl?: boolean },
    call?: NativeCall,
  ): Promise<NativeRollout>
  /**
   * One PPO step on a rollout: advantages from scores and per-sample KL weights, then ppoEpochs x mini-batches. `seed` drives the
   * permutations. Cancel before the first update leaves everything as it was.
   */
  step(
    rollout: NativeRollout,
    options: { scores: Float32Array; klWeights: Float32Array; lr: number; seed: number },
    call?: NativeCall,
  ): Promise<PpoStats>
}

export interface NativeOps {
  varianceKlAdvantage(args: VarianceKlAdvantageArgs, call?: NativeCall): Promise<VarianceKlAdvantageResult>
  ppoLoss(args: PpoLossArgs, call?: NativeCall): Promise<PpoLossResult>
  bradleyTerry(args: BradleyTerryArgs, call?: NativeCall): Promise<BradleyTerryResult>
}
export interface VarianceKlAdvantageArgs {
  logprobs: Float32Array
  refLogprobs: Float32Array
  values: Float32Array
  scores: Float32Array
  klWeights: Float32Array
  responseLengths: Int32Array
  shape: [batch: number, time: number]
  gamma?: number
  lambda?: number
  whiten?: boolean
  whitenRewards?: boolean
  klPenalty?: KlEstimator
  klPerToken?: Float32Array
}
export interface VarianceKlAdvantageResult {
  rewards: Float32Array
  advantages: Float32Array
  returns: Float32Array
  kl: Float32Array
}
export interface PpoLossArgs {
  logprobs: Float32Array
  values: Float32Array
  oldLogprobs: Float32Array
  oldValues: Float32Array
  advantages: Float32Array
  returns: Float32Array
  responseLengths: Int32Array
  shape: [batch: number, time: number]
  clipRange?: number
  clipRangeValue?: number
  vfCoef?: number
  ratioThreshold?: number
}
export interface PpoLossResult {
  loss: number
  policyLoss: number
  valueLoss: number
  gradLogprobs: Float32Array
  gradValues: Float32Array
  stats: Record<string, number>
}
export interface BradleyTerryArgs {
  chosen: Float32Array
  rejected: Float32Array
  shape: [pairs: number, heads: number]
}
export interface BradleyTerryResult {
  loss: number
  lossPerHead: Float32Array
  accuracyPerHead: Float32Array
  gradChosen: Float32Array
  gradRejected: Float32Array
}

export interface NativeAddon {
  systemInfo(): SystemInfo
  /**
   * CPU executor: `lanes` jobs at once, each with `threadsPerLane` threads. Only while nothing runs (E_BUSY).
   * `deterministic`: left as it is when absent; false at first, or true where PRUDENT_DETERMINISTIC is 1.
   */
  configureExecutor(options: { lanes: number; threadsPerLane: number; deterministic?: boolean }): void
  /** For the process's 'exit' event: cancels what computes, and waits for it half a second at most. Nothing computes afterwards. */
  prepareExit(): void
  createCancelToken(): NativeCancelToken
  ops: NativeOps
  loadModel(folder: string, options: LoadModelOptions, call?: NativeCall): Promise<NativeModel>
  /** Random weights from the text of a config.json. */
  createModel(configJson: string, options: LoadModelOptions, call?: NativeCall): Promise<NativeModel>
  /** Features that come from elsewhere, [rows, hidden] row-major. */
  createFeatureCache(values: Float32Array, rows: number, hidden: number, call?: NativeCall): Promise<NativeFeatureCache>
  loadFeatureCache(file: string, call?: NativeCall): Promise<NativeFeatureCache>
  createLanguageModelTrainer(
    model: NativeModel,
    options: LanguageModelTrainerOptions,
  ): Promise<NativeLanguageModelTrainer>
  createRewardTrainer(model: NativeModel, options: RewardTrainerOptions): Promise<NativeRewardTrainer>
  createHeadsTrainer(features: NativeFeatureCache, options: HeadsTrainerOptions): Promise<NativeHeadsTrainer>
  createPpoTrainer(policy: NativeModel, reference: NativeModel, options: PpoTrainerOptions): Promise<NativePpoTrainer>
  /** Rejects with E_DISTRIBUTED when not all ranks have met in time. */
  createProcessGroup(options: ProcessGroupOptions): Promise<NativeProcessGroup>
  /** Exact KL(policy || reference) per row, summed over response tokens and the vocabulary. rows = prompt + response. */
  exactKl(
    policy: NativeModel,
    reference: NativeModel,
    rows: TokenRows,
    promptLengths: Int32Array,
    options: BatchOptions,
    call?: NativeCall,
  ): Promise<Float32Array>
}
