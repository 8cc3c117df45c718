/** Figure 9 from what `prudent evaluate rewardbench` wrote. */
import { z } from 'zod'
import { percent } from '../format.js'

const benchShape = z.object({
  entries: z.array(z.object({ name: z.string(), kind: z.string(), sections: z.record(z.string(), z.number()) })),
})

/** The range of the heads in each section, and the single model where there is one. */
export function headsBesideSingle(summary: unknown): string | null {
  const { data } = benchShape.safeParse(summary)
  const heads = data?.entries.filter(({ kind }) => kind === 'head') ?? []
  if (heads.length === 0) return null
  const single = data?.entries.find(({ kind }) => kind === 'single')
  const whole = (share: number) => percent(share, 0)
  const sections = Object.keys(heads[0]?.sections ?? {}).map((section) => {
    const shares = heads.map((head) => head.sections[section] as number)
    const beside = single ? ` (single ${whole(single.sections[section] as number)})` : ''
    return `${section} ${whole(Math.min(...shares))} to ${whole(Math.max(...shares))}${beside}`
  })
  return sections.join('; ')
}
