/** Figures 10 and 11: KL and proxy reward against the step, mean and standard deviation over policies. */
import type { Summary } from '../../study/summary.js'
import { armLabels, colourScale } from '../arms.js'
import { chart } from '../chart.js'
import type { Markup } from '../markup.js'

export function curvesFigure(summary: Summary, quantity: 'kl' | 'proxyReward', title: string): Promise<Markup> {
  const labels = armLabels(summary.arms)
  const values = summary.arms.flatMap((arm) => {
    const { step, mean, std } = arm[quantity]
    const label = labels.get(arm.id)
    return step.map((s, i) => ({
      recipe: label?.recipe,
      method: label?.method,
      step: s,
      mean: mean[i],
      low: (mean[i] ?? 0) - (std[i] ?? 0),
      high: (mean[i] ?? 0) + (std[i] ?? 0),
    }))
  })
  const x = { field: 'step', type: 'quantitative' as const, title: 'PPO step' }
  const color = { field: 'method', type: 'nominal' as const, scale: colourScale(summary, false) }
  return chart(`${title} by step and method`, {
    data: { values },
    facet: { field: 'recipe', type: 'nominal', title: null },
    columns: 2,
    spec: {
      width: 400,
      height: 220,
      layer: [
        {
          mark: { type: 'area', opacity: 0.15 },
          encoding: { x, y: { field: 'low', type: 'quantitative', title }, y2: { field: 'high' }, color },
        },
        { mark: { type: 'line', strokeWidth: 2 }, encoding: { x, y: { field: 'mean', type: 'quantitative' }, color } },
      ],
    },
  })
}
