/** Figures 1 and 6 from what `prudent evaluate variance` wrote. */
import { z } from 'zod'
import { significant } from '../format.js'

const spread = z.object({ mean: z.number(), median: z.number(), max: z.number() })
const varianceShape = z.object({
  ensembles: z.array(
    z.object({
      name: z.string(),
      pairScores: z.array(z.number()),
      sections: z.array(z.object({ section: z.string(), accepted: spread })),
    }),
  ),
})

const ensemblesOf = (summary: unknown) => varianceShape.safeParse(summary).data?.ensembles ?? []

export function oneResponse(summary: unknown): string | null {
  const parts = ensemblesOf(summary).map(({ name, pairScores }) => {
    const [low, high] = [Math.min(...pairScores), Math.max(...pairScores)]
    return `${name}: ${significant(low)} to ${significant(high)} over ${pairScores.length}`
  })
  return parts.length === 0 ? null : parts.join('; ')
}

export function variancesBySection(summary: unknown): string | null {
  const parts = ensemblesOf(summary).map(({ name, sections }) => {
    const own = sections.map(
      ({ section, accepted: { mean, median, max } }) =>
        `${section} mean ${significant(mean)}, median ${significant(median)}, maximum ${significant(max)}`,
    )
    return `${name}: ${own.join('; ')}`
  })
  return parts.length === 0 ? null : parts.join(' — ')
}
