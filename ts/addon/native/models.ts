/** Models and the features that they compute. Conventions: ../native.ts. */
import type { Dtype, NativeCall, TokenRows } from './calls.js'
import type { NativeProcessGroup } from './process-group.js'

export interface LoadModelOptions {
  task: 'causal-lm' | 'sequence-classification'
  /** 'auto': bfloat16 only where the device multiplies it natively. */
  dtype: Dtype | 'auto'
  device: string
  /** Build a head that the folder lacks, N(0, 0.02^2), seeded. */
  allowNewHead?: boolean
  numLabels?: number
  seed?: number
  /** The blocks' products in 8-bit integers: scoring only, CPU only. */
  int8?: boolean
}

/** What a model is: architecture, sizes, dtype, device, special token ids. */
export interface ModelInfo {
  architecture: 'gemma' | 'llama' | 'gpt2'
  task: 'causal-lm' | 'sequence-classification'
  dtype: Dtype
  /** Do the blocks' products run in 8-bit integers? */
  int8: boolean
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
  /**
   * blockBytes: what a backward needs of one block, its input aside, per token. freeBytes: of the model's CUDA device, what new tensors
   * may take; null on the CPU.
   */
  trainingMemory(): { blockBytes: number; freeBytes: number | null }
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
