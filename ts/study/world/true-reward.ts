/**
 * The sample world's true reward: a pure function of a text. Its words and weights are data (true-reward.json, written by
 * scripts/make-sample-data.mjs, which imports this very function to draw the labels), so that there is one definition.
 */
import { readFileSync } from 'node:fs'
import * as z from 'zod'
import { PrudentError } from '../../errors.js'

const definitionSchema = z.strictObject({
  description: z.string(),
  scale: z.number().positive(),
  styles: z.array(
    z.strictObject({
      name: z.string(),
      scarce: z.boolean(),
      share: z.number().min(0).max(1),
      words: z.array(z.string()).min(1),
    }),
  ),
  weights: z.record(z.string(), z.number()),
})
export type TrueRewardDefinition = z.infer<typeof definitionSchema>

export interface TrueReward {
  /** scale * mean weight over the text's words; 0 for a text without words. */
  reward(text: string): number
  /** The style that most of the text's style words belong to, null when it has none. */
  style(text: string): string | null
  /** Whether that style is one that preference data hardly holds. */
  isScarce(text: string): boolean
}

const wordsOf = (text: string): string[] => text.toLowerCase().match(/\p{L}+/gu) ?? []

export function createTrueReward(definition: TrueRewardDefinition): TrueReward {
  const weights = new Map(Object.entries(definition.weights))
  const styleOf = new Map(definition.styles.flatMap((style) => style.words.map((word) => [word, style.name] as const)))
  const scarce = new Set(definition.styles.filter((style) => style.scarce).map((style) => style.name))
  const style = (text: string): string | null => {
    const counts = new Map<string, number>()
    for (const word of wordsOf(text)) {
      const name = styleOf.get(word)
      if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    return (
      [...counts].reduce<[string, number] | null>(
        (best, entry) => (best && best[1] >= entry[1] ? best : entry),
        null,
      )?.[0] ?? null
    )
  }
  return {
    reward(text) {
      const words = wordsOf(text)
      const sum = words.reduce((total, word) => total + (weights.get(word) ?? 0), 0)
      return words.length === 0 ? 0 : (definition.scale * sum) / words.length
    },
    style,
    isScarce(text) {
      const name = style(text)
      return name !== null && scarce.has(name)
    },
  }
}

export function loadTrueReward(file: string): TrueReward {
  let raw: unknown
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new PrudentError('E_NOT_FOUND', `${file}: the true reward cannot be read`, { argument: 'trueReward', cause })
  }
  const parsed = definitionSchema.safeParse(raw)
  if (!parsed.success)
    throw new PrudentError('E_CORRUPT_FILE', `${file}: ${z.prettifyError(parsed.error)}`, { argument: 'trueReward' })
  return createTrueReward(parsed.data)
}
