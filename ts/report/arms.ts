/** How an arm (recipe, method, centring of sigma) is called in tables and figures, and its colour. */
import type { ArmSummary, Center, Method, Recipe, Summary } from '../study/summary.js'
import { COLOURS } from './chart.js'

const METHOD_NAMES: Record<Method, string> = {
  vanilla: 'vanilla PPO',
  sigma: 'σ-weighted KL',
  'sigma-variance': 'σ²-weighted KL',
  'sigma-exact': 'σ-weighted KL, whole gradient',
  shuffled: 'σ shuffled (control)',
  constant: 'σ constant (control)',
  mean: 'mean of heads',
  worst: 'worst head',
  'mean-variance': 'mean − λ·variance',
  lcb: 'r − kσ',
}
export const RECIPE_NAMES: Record<Recipe, string> = {
  paper: 'paper’s heads (all new)',
  'paper-keep-first': 'paper’s heads (first kept)',
  anchored: 'anchored bootstrap heads',
  layers: 'heads on several layers',
  laplace: 'draws from the Laplace posterior',
  dropout: 'draws of dropout',
}
export const CENTER_NAMES: Record<Center, string> = {
  none: 'raw σ',
  reference: 'σ centred on reference',
  prompt: 'σ centred per prompt',
}

export function methodName(method: Method, center: Center | null): string {
  return center === null ? METHOD_NAMES[method] : `${METHOD_NAMES[method]}, ${CENTER_NAMES[center]}`
}

export interface ArmLabel {
  id: string
  recipe: string
  method: string
  colour: string
}

export function armLabels(arms: readonly ArmSummary[]): Map<string, ArmLabel> {
  return new Map(
    arms.map((arm) => [
      arm.id,
      {
        id: arm.id,
        recipe: RECIPE_NAMES[arm.recipe],
        method: methodName(arm.method, arm.center),
        colour: COLOURS[arm.method],
      },
    ]),
  )
}

/** One colour a method; arms of one method that differ in centring take lighter shades. */
export function colourScale(summary: Summary, withReference: boolean): { domain: string[]; range: string[] } {
  const labels = [...armLabels(summary.arms).values()]
  const domain = [...new Set(labels.map((l) => l.method))]
  const seen = new Map<string, number>()
  const range = domain.map((method) => {
    const colour = labels.find((l) => l.method === method)?.colour ?? COLOURS.constant
    const shade = seen.get(colour) ?? 0
    seen.set(colour, shade + 1)
    return shade === 0 ? colour : lighten(colour, 0.35 * shade)
  })
  return withReference
    ? { domain: ['reference policy', ...domain], range: [COLOURS.reference, ...range] }
    : { domain, range }
}

function lighten(colour: string, amount: number): string {
  const channel = (at: number) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16)
    return Math.round(value + (255 - value) * Math.min(amount, 0.8))
      .toString(16)
      .padStart(2, '0')
  }
  return `#${channel(1)}${channel(3)}${channel(5)}`
}
