import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ModelConfigJson } from '../support/tiny-models.js'

/** What transformers computes for one causal model; values of the last token of each row unless said otherwise. */
export interface CausalGolden {
  config: ModelConfigJson
  /** Settings that a wrong reader would take instead. */
  wrong: ModelConfigJson
  rows: number[][]
  hidden: number[]
  logits: number[]
  /** Of every token after the first of each row. */
  logprobs: number[]
  /** PyTorch's own bfloat16 against its float32, root mean square. */
  bf16Error: { hidden: number; logits: number; logprobs: number }
  prompts: number[][]
  greedy: number[][]
}

export interface ClassifierGolden {
  config: ModelConfigJson
  rows: number[][]
  scoresRightPadded: number[]
  scoresLeftPadded: number[]
  bf16Error: { scores: number }
}

export interface ModelsGolden {
  environment: Record<string, string>
  newTokens: number
  causal: Record<string, CausalGolden>
  classifiers: Record<string, ClassifierGolden>
}

/** Tests run from dist/test/models. */
export const root = fileURLToPath(new URL('../../../', import.meta.url))

export function readModelsGolden(path = `${root}test/golden/data/models.json`): ModelsGolden {
  return JSON.parse(readFileSync(path, 'utf8')) as ModelsGolden
}
