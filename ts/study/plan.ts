/** What the study will do, as data: every policy with its arm, head, trial and seed. The same config gives the same plan. */
import { deriveSeed } from '../data/random.js'
import type { SigmaSettings } from '../policy/settings.js'
import type { ComparisonConfig, StudyConfig } from './config.js'
import type { Center, Method, Recipe } from './summary.js'

export type SigmaPower = SigmaSettings['power']

export interface Arm {
  /** `<recipe>/<method>` or `<recipe>/<method>/<center>` */
  id: string
  recipe: Recipe
  method: Method
  /** null for methods without sigma. */
  center: Center | null
  ensembles: number
}

export interface PolicyUnit {
  arm: string
  ensemble: number
  head: number
  trial: number
  /** The same for all methods: they share prompts and random numbers. */
  seed: number
}

export interface Comparison {
  id: string
  recipe: Recipe
  center: Center
  primary: boolean
  baseline: string
  /** `sigma` against vanilla is the claim; other methods are controls. */
  treatments: string[]
}

export interface StudyPlan {
  arms: Arm[]
  policies: PolicyUnit[]
  comparisons: Comparison[]
}

const WEIGHING: readonly Method[] = ['sigma', 'sigma-variance', 'sigma-exact', 'shuffled', 'constant']

/** Whether sigma multiplies the KL term. */
export const weighsKl = (method: Method): boolean => WEIGHING.includes(method)

const usesSigma = (method: Method): boolean => weighsKl(method) || method === 'lcb' || method === 'mean-variance'

/** Power of sigma that weighs the KL of a method. */
export const powerOf = (method: Method, { objective }: Pick<StudyConfig, 'objective'>): SigmaPower =>
  method === 'sigma-variance' ? 'variance' : objective.power

export function armOf(recipe: Recipe, method: Method, center: Center): { id: string; center: Center | null } {
  return usesSigma(method)
    ? { id: `${recipe}/${method}/${center}`, center }
    : { id: `${recipe}/${method}`, center: null }
}

export function planStudy(config: Pick<StudyConfig, 'seed' | 'layout' | 'comparisons'>): StudyPlan {
  const arms = planArms(config.comparisons, config.layout.ensembles)
  const policies = arms.flatMap((arm) =>
    grid(arm.ensembles, config.layout.heads, config.layout.trials).map(([ensemble, head, trial]) => ({
      arm: arm.id,
      ensemble,
      head,
      trial,
      seed: policySeed(config.seed, ensemble, head, trial),
    })),
  )
  const comparisons = config.comparisons.map(({ recipe, center, methods }, i) => ({
    id: `${recipe}/${center}`,
    recipe,
    center,
    primary: i === 0,
    baseline: armOf(recipe, 'vanilla', center).id,
    treatments: methods.filter((method) => method !== 'vanilla').map((method) => armOf(recipe, method, center).id),
  }))
  return { arms, policies, comparisons }
}

/** Arms of all comparisons, each once, vanilla first; an arm in two comparisons runs on the larger number of ensembles. */
function planArms(comparisons: readonly ComparisonConfig[], allEnsembles: number): Arm[] {
  const arms = new Map<string, Arm>()
  for (const { recipe, center, methods, ensembles } of comparisons) {
    for (const method of new Set<Method>(['vanilla', ...methods])) {
      const arm = {
        ...armOf(recipe, method, center),
        recipe,
        method,
        ensembles: Math.min(ensembles ?? allEnsembles, allEnsembles),
      }
      const known = arms.get(arm.id)
      arms.set(arm.id, known && known.ensembles >= arm.ensembles ? known : arm)
    }
  }
  return [...arms.values()]
}

/** Hash of study seed, ensemble, head and trial: two trials of one head differ, methods do not. */
export const policySeed = (seed: number, ensemble: number, head: number, trial: number): number =>
  deriveSeed(seed, 'policy', ensemble, head, trial)

function grid(ensembles: number, heads: number, trials: number): [number, number, number][] {
  const range = (length: number) => Array.from({ length }, (_, i) => i)
  return range(ensembles).flatMap((e) =>
    range(heads).flatMap((h) => range(trials).map((t): [number, number, number] => [e, h, t])),
  )
}

export const unitName = (unit: Pick<PolicyUnit, 'arm' | 'ensemble' | 'head' | 'trial'>): string =>
  `${unit.arm.replaceAll('/', '.')}-e${unit.ensemble}-h${unit.head}-t${unit.trial}`

export interface PlanDescription {
  policies: number
  /** Policies of a calibration trial, as many trials as it takes. */
  calibrationPoliciesPerTrial: number
  arms: { arm: string; policies: number; heads: number; trialsPerHead: number }[]
  units: { name: string; seed: number }[]
}

/** `prudent study --plan`: how many policies of what, and the name of each. */
export function describePlan(config: StudyConfig): PlanDescription {
  const plan = planStudy(config)
  const { heads, trials } = config.layout
  return {
    policies: plan.policies.length,
    calibrationPoliciesPerTrial: config.calibration.ensembles * config.calibration.heads,
    arms: plan.arms.map((arm) => ({
      arm: arm.id,
      policies: arm.ensembles * heads * trials,
      heads: arm.ensembles * heads,
      trialsPerHead: trials,
    })),
    units: plan.policies.map((unit) => ({ name: unitName(unit), seed: unit.seed })),
  }
}
