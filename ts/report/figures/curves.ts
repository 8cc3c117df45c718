/** Figures 10 and 11: KL and proxy reward against the step, mean and standard deviation over policies. */
import type { Curve, Summary } from '../../study/summary.js'
import { armLabels, colourScale } from '../arms.js'
import { chart } from '../chart.js'
import type { Markup } from '../markup.js'

export function curvesFigure(summary: Summary, quantity: 'kl' | 'proxyReward', title: string): Promise<Markup> {
  const labels = armLabels(summary.arms)
  const bands = summary.arms.map((arm) => ({
    recipe: labels.get(arm.id)?.recipe ?? '',
    method: labels.get(arm.id)?.method ?? '',
    curve: arm[quantity],
  }))
  return bandChart(bands, colourScale(summary, false), title)
}

export interface Band {
  /** One panel each. */
  recipe: string
  method: string
  curve: Curve
}

/** Mean, and one standard deviation to both sides. */
export function bandChart(
  bands: readonly Band[],
  scale: { domain: string[]; range: string[] },
  title: string,
): Promise<Markup> {
  const values = bands.flatMap(({ recipe, method, curve: { step, mean, std } }) =>
    step.map((s, i) => ({
      recipe,
      method,
      step: s,
      mean: mean[i],
      low: (mean[i] ?? 0) - (std[i] ?? 0),
      high: (mean[i] ?? 0) + (std[i] ?? 0),
    })),
  )
  const x = { field: 'step', type: 'quantitative' as const, title: 'PPO step' }
  const color = { field: 'method', type: 'nominal' as const, scale }
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
