/** Figures 7 and 12 as `prudent judge` made them. */
import type { JudgeSummary } from '../../study/judge/summary.js'
import { significant } from '../format.js'
import { PAPER } from '../paper-numbers.js'
import type { Ours } from './rows.js'

/** The first group stands for vanilla, the second for the variance-aware method: the order of the comparison. */
export function judgeRows(summary: JudgeSummary): Ours[] {
  const largest = Math.max(...summary.groups.map((group) => group.policies.length))
  const [item, numbers] =
    largest > 70 ? (['Figure 12', PAPER.figure12] as const) : (['Figure 7', PAPER.figure7] as const)
  const [vanilla, aware] = summary.groups
  const ours = [
    { name: 'the reference', count: summary.reference.means.length, ...summary.reference },
    ...[aware, vanilla].map((group) => group && { ...group, count: group.policies.length }),
  ]
  return numbers.flatMap(({ method, mean, variance }, i) => {
    const found = ours[i]
    if (!found) return []
    const text = `${found.name}: ${significant(found.mean)} / ${significant(found.variance)} (${found.count}), judge ${summary.judge.model}`
    return [{ item, quantity: `mean / variance over policies, ${method}`, paper: `${mean} / ${variance}`, ours: text }]
  })
}
