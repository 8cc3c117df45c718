/** The public names of `prudent`. Importing loads no native code; the first call does. */
export type { CallOptions } from './addon/call.js'
export { FeatureCache } from './addon/feature-cache.js'
export type { BatchedCallOptions, ModelOptions, PrefixCallOptions, SaveOptions } from './addon/model.js'
export type {
  AdamwOptions,
  BradleyTerryArgs,
  BradleyTerryResult,
  Dtype,
  HeadsTrainerOptions,
  KlEstimator,
  ModelInfo,
  PpoLossArgs,
  PpoLossResult,
  PpoStats,
  PpoTrainerOptions,
  ProcessGroupOptions,
  SystemInfo,
  VarianceKlAdvantageArgs,
  VarianceKlAdvantageResult,
} from './addon/native.js'
export { ops } from './addon/ops.js'
export { Policy, type SamplingOptions } from './addon/policy.js'
export { PPO_DEFAULTS, PpoTrainer, Rollout } from './addon/ppo-trainer.js'
export { ProcessGroup, type RankEnvironment, readRankEnvironment, type Variables } from './addon/process-group.js'
export { RewardModel, type RewardModelOptions, type RowScore, type ScoreCallOptions } from './addon/reward-model.js'
export type { TokenIds } from './addon/rows.js'
export {
  ScoreBatcher,
  ScoreBatcherMember,
  type ScoreBatcherOptions,
  type ScoreBatcherStatistics,
  type ScoreRequestOptions,
  type ScoreRows,
  type ScoringModel,
} from './addon/score-batcher.js'
export { configureExecutor, systemInfo } from './addon/system.js'
export {
  HeadsTrainer,
  LanguageModelTrainer,
  RewardTrainer,
  type RewardTrainerOptions,
  type StepOptions,
  type TrainerOptions,
} from './addon/trainers.js'
export type { Uncertainty, UncertaintyKind } from './addon/uncertainty.js'
export type { ChatTemplate, Message, RenderOptions } from './data/chat-template.js'
export { type EncodeOptions, Tokenizer } from './data/tokenizer.js'
export type { SpecialTokenName } from './data/tokenizer-files.js'
export { ERROR_CODES, type ErrorCode, PrudentError } from './errors.js'
