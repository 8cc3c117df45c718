/** Figure 7: the distribution of the policies' mean score under a judge, one curve a method, one tick a policy. */
import type { Summary } from '../../study/summary.js'
import { armLabels, colourScale } from '../arms.js'
import { chart } from '../chart.js'
import type { Markup } from '../markup.js'

type Judged = Summary['figures']['judged'][number]
/** One policy, or one repeated sample of the reference. */
export interface DistributionSample {
  recipe: string
  method: string
  value: number
}

function samples(summary: Summary, judged: Judged): DistributionSample[] {
  const labels = armLabels(summary.arms)
  const arms = judged.arms.flatMap(({ arm, means }) => {
    const label = labels.get(arm)
    return label ? means.map((value) => ({ recipe: label.recipe, method: label.method, value })) : []
  })
  const recipes = [...new Set(arms.map((sample) => sample.recipe))]
  const reference = recipes.flatMap((recipe) =>
    judged.reference.means.map((value) => ({ recipe, method: 'reference policy', value })),
  )
  return [...reference, ...arms]
}

/** Gaussian kernel density with Silverman's bandwidth, scaled to a peak of 1: the reference is so narrow that areas would hide the rest. */
function densities(
  all: readonly DistributionSample[],
): { recipe: string; method: string; value: number; density: number }[] {
  const low = Math.min(...all.map((s) => s.value))
  const high = Math.max(...all.map((s) => s.value))
  const margin = 0.08 * (high - low || 1)
  const grid = Array.from({ length: 161 }, (_, i) => low - margin + ((high - low + 2 * margin) * i) / 160)
  const groups = new Map<string, DistributionSample[]>()
  for (const sample of all) {
    const key = JSON.stringify([sample.recipe, sample.method])
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  return [...groups.values()].flatMap((group) => {
    const first = group[0]
    if (!first) return []
    const values = group.map((s) => s.value)
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, values.length - 1))
    const width = Math.max(1.06 * std * values.length ** -0.2, (high - low || 1) / 400)
    const raw = grid.map((x) => values.reduce((sum, v) => sum + Math.exp(-0.5 * ((x - v) / width) ** 2), 0))
    const peak = Math.max(...raw) || 1
    return grid.map((value, i) => ({
      recipe: first.recipe,
      method: first.method,
      value,
      density: (raw[i] ?? 0) / peak,
    }))
  })
}

export function judgedFigure(summary: Summary, judged: Judged): Promise<Markup> {
  const judge = judged.judge === 'truth' ? 'known true reward' : 'judge model’s score'
  return distributionFigure(samples(summary, judged), colourScale(summary, true), judge)
}

/** @param judge what the values are means of */
export function distributionFigure(
  values: readonly DistributionSample[],
  scale: { domain: string[]; range: string[] },
  judge: string,
): Promise<Markup> {
  const color = { field: 'method', type: 'nominal' as const, scale }
  const x = {
    field: 'value',
    type: 'quantitative' as const,
    title: `mean ${judge} of a policy’s responses`,
    scale: { zero: false },
  }
  return chart(`Distribution of policy means under the ${judge}`, {
    data: {
      values: [
        ...densities(values).map((d) => ({ ...d, kind: 'density' })),
        ...values.map((v) => ({ ...v, kind: 'policy' })),
      ],
    },
    facet: { field: 'recipe', type: 'nominal', title: null },
    columns: 1,
    spec: {
      width: 760,
      height: 200,
      layer: [
        {
          transform: [{ filter: "datum.kind === 'density'" }],
          mark: { type: 'area', opacity: 0.14, line: { strokeWidth: 2, opacity: 1 } as never },
          encoding: {
            x,
            y: { field: 'density', type: 'quantitative', title: 'density (peak = 1)', stack: null },
            color,
          },
        },
        {
          transform: [{ filter: "datum.kind === 'policy'" }],
          mark: { type: 'tick', thickness: 1.5, opacity: 0.8, yOffset: 6, height: 10 } as never,
          encoding: { x, y: { value: 200 }, color },
        },
      ],
    },
  })
}
