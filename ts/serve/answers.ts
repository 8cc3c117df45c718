/** The bodies of answers, in vLLM's shapes with `uncertainty` beside. */
import { randomUUID } from 'node:crypto'
import type { RowScore } from '../addon/reward-model.js'
import type { ScoredItems } from './scoring-service.js'

/** What the heads say of one item, never activated: mean, sigma of the model's uncertainty source (without one over the heads, ddof 1, null for one), every head's score. */
export interface Uncertainty {
  mean: number
  std: number | null
  heads: number[]
}

export interface AnswerOptions {
  model: string
  labels: readonly string[]
  /** Logistic function of every score. */
  activate: boolean
  base64?: boolean
}

export function poolingAnswer(scored: ScoredItems, options: AnswerOptions) {
  return listAnswer('pool', scored, options.model, (row) => {
    const data = activated(row, options.activate)
    return { object: 'pooling', data: options.base64 ? toBase64(data) : data }
  })
}

export function classifyAnswer(scored: ScoredItems, options: AnswerOptions) {
  return listAnswer('classify', scored, options.model, (row) => {
    const probs = activated(row, options.activate)
    const best = probs.indexOf(Math.max(...probs))
    return { label: options.labels[best] ?? null, probs, num_classes: probs.length }
  })
}

export function scoreAnswer(scored: ScoredItems, options: AnswerOptions) {
  return listAnswer('score', scored, options.model, ({ mean }) => ({
    object: 'score',
    score: options.activate ? logistic(mean) : mean,
  }))
}

function listAnswer<T extends object>(
  kind: string,
  { rows, tokens }: ScoredItems,
  model: string,
  of: (row: RowScore) => T,
) {
  return {
    id: `${kind}-${randomUUID().replaceAll('-', '')}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model,
    data: rows.map((row, index) => ({ index, ...of(row), uncertainty: uncertaintyOf(row) })),
    usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
  }
}

function uncertaintyOf({ mean, std, scores }: RowScore): Uncertainty {
  return { mean, std, heads: Array.from(scores) }
}

function activated({ scores }: RowScore, activate: boolean): number[] {
  return Array.from(scores, (score) => (activate ? logistic(score) : score))
}

function logistic(score: number): number {
  return 1 / (1 + Math.exp(-score))
}

/** float32, little-endian, as OpenAI's clients read it. */
function toBase64(values: readonly number[]): string {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, at) => {
    bytes.writeFloatLE(value, at * 4)
  })
  return bytes.toString('base64')
}
