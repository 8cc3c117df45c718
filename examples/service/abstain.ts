/**
 * A judge that says when it does not know: heads of a reward model vote on two responses, each by its own difference of scores. Where the mean
 * difference is not larger than `margin` standard deviations of it over heads, the judge abstains and a person decides.
 *
 *   node dist/examples/service/abstain.js FOLDER-OR-HUB-ID "PROMPT" "RESPONSE A" "RESPONSE B"
 */
import { fileURLToPath } from 'node:url'
import { ScoringService } from 'prudent/fastify'

export interface Verdict {
  choice: 'A' | 'B' | 'abstain'
  /** Mean over heads of score(A) - score(B). */
  lead: number
  /** Standard deviation of that difference over heads, ddof 1. */
  spread: number
  /** Heads that prefer A. */
  votes: number
  heads: number
}

export interface Pair {
  prompt: string
  a: string
  b: string
}

export async function judge(service: ScoringService, { prompt, a, b }: Pair, margin = 1): Promise<Verdict> {
  const { rows } = await service.score([
    { prompt, response: a },
    { prompt, response: b },
  ])
  const [first, second] = rows.map(({ scores }) => [...scores]) as [number[], number[]]
  // Heads have scales and offsets of their own; within one head both cancel. That is why the differences are taken first.
  const differences = first.map((score, head) => score - (second[head] as number))
  const heads = differences.length
  if (heads < 2) throw new Error('one head cannot disagree with itself: the model needs at least two')
  const lead = differences.reduce((sum, value) => sum + value, 0) / heads
  const spread = Math.sqrt(differences.reduce((sum, value) => sum + (value - lead) ** 2, 0) / (heads - 1))
  const choice = Math.abs(lead) <= margin * spread ? 'abstain' : lead > 0 ? 'A' : 'B'
  return { choice, lead, spread, votes: differences.filter((value) => value > 0).length, heads }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [model = '', prompt = '', a = '', b = ''] = process.argv.slice(2)
  await using service = await ScoringService.load(model)
  console.log(JSON.stringify(await judge(service, { prompt, a, b }), null, 2))
}
