/**
 * Theorem 3.6: max over pi of E_pi[Rhat] - beta E_pi[sigma^2 ln(pi / pi0)] on one prompt's responses. Setting the derivative to zero
 * with the normalisation's multiplier gives pi0 exp((Rhat - lambda) / (beta sigma^2) - 1); the printed pi0 exp(Rhat / (beta sigma^2)),
 * normalised, drops lambda, which does not cancel when sigma varies. Both beside a numerical optimiser that knows neither form.
 */
import { Random } from '../data/random.js'

export interface Problem {
  reference: Float64Array
  estimate: Float64Array
  variance: Float64Array
}

export interface OptimumResult {
  responses: number
  problems: number
  beta: number
  /** Largest total variation distance to the numerical optimum over all problems. */
  distance: { exact: number; printed: number }
  /** Mean shortfall of the objective against the numerical optimum. */
  shortfall: { exact: number; printed: number }
  /** Mean over problems of the reward at one value of the constraint. */
  atEqualConstraint: { epsilon: number; exact: number; printed: number }
  /** How far adding 1 to every estimate moves each policy: a constant does not change the problem. */
  shifted: { exact: number; printed: number }
}

const RESPONSES = 16
const PROBLEMS = 40
const BETA = 0.5
const EPSILON = 0.3
const STEPS = 20_000

export function makeProblem(random: Random, responses = RESPONSES): Problem {
  const draw = (f: () => number) => Float64Array.from({ length: responses }, f)
  const weights = draw(() => Math.exp(random.normal()))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return {
    reference: weights.map((weight) => weight / total),
    estimate: draw(() => random.normal()),
    variance: draw(() => Math.exp(random.normal(0, 0.7))),
  }
}

function normalised(logits: Float64Array): Float64Array {
  const largest = Math.max(...logits)
  const exponentials = logits.map((logit) => Math.exp(logit - largest))
  const total = exponentials.reduce((sum, value) => sum + value, 0)
  return exponentials.map((value) => value / total)
}

export function printedOptimum({ reference, estimate, variance }: Problem, beta: number): Float64Array {
  return normalised(reference.map((p, i) => Math.log(p) + (estimate[i] as number) / (beta * (variance[i] as number))))
}

/** lambda by bisection: the sum of probabilities falls in it. */
export function exactOptimum({ reference, estimate, variance }: Problem, beta: number): Float64Array {
  const at = (lambda: number) =>
    reference.map((p, i) => p * Math.exp(((estimate[i] as number) - lambda) / (beta * (variance[i] as number)) - 1))
  const total = (lambda: number) => at(lambda).reduce((sum, p) => sum + p, 0)
  const reach = 50 * (1 + beta * Math.max(...variance)) + Math.max(...estimate.map(Math.abs))
  let [low, high] = [-reach, reach]
  for (let i = 0; i < 200; i += 1) {
    const middle = (low + high) / 2
    if (total(middle) > 1) low = middle
    else high = middle
  }
  return at((low + high) / 2)
}

export function objective({ reference, estimate, variance }: Problem, beta: number, policy: Float64Array): number {
  return rewardOf(estimate, policy) - beta * constraintOf({ reference, variance }, policy)
}

const rewardOf = (estimate: Float64Array, policy: Float64Array) =>
  policy.reduce((sum, p, i) => sum + p * (estimate[i] as number), 0)

/** E_pi[sigma^2 ln(pi / pi0)]: no divergence, it can be negative. */
function constraintOf({ reference, variance }: Pick<Problem, 'reference' | 'variance'>, policy: Float64Array): number {
  return policy.reduce(
    (sum, p, i) => sum + (p > 0 ? p * (variance[i] as number) * Math.log(p / (reference[i] as number)) : 0),
    0,
  )
}

/** Mirror ascent (multiplicative updates along the gradient), step 1 / (beta max sigma^2): converges linearly. */
export function numericalOptimum({ reference, estimate, variance }: Problem, beta: number): Float64Array {
  const step = 1 / (beta * Math.max(...variance))
  let policy: Float64Array = reference.slice()
  for (let i = 0; i < STEPS; i += 1) {
    const next = normalised(
      policy.map((p, at) => {
        const weight = beta * (variance[at] as number)
        return Math.log(p) + step * ((estimate[at] as number) - weight * (Math.log(p / (reference[at] as number)) + 1))
      }),
    )
    const moved = distance(next, policy)
    policy = next
    if (moved < 1e-15) break
  }
  return policy
}

/** Total variation. */
export const distance = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, p, i) => sum + Math.abs(p - (b[i] as number)) / 2, 0)

/** The policy of this form whose constraint is `epsilon`, by bisection of ln beta. */
function atConstraint(problem: Problem, form: typeof exactOptimum, epsilon: number): Float64Array {
  let [low, high] = [Math.log(1e-3), Math.log(1e4)]
  for (let i = 0; i < 100; i += 1) {
    const middle = (low + high) / 2
    if (constraintOf(problem, form(problem, Math.exp(middle))) > epsilon) low = middle
    else high = middle
  }
  return form(problem, Math.exp(high))
}

export function compareOptima(seed: number): OptimumResult {
  const random = Random.from(seed, 'theory', 'optimum')
  const problems = Array.from({ length: PROBLEMS }, () => makeProblem(random))
  const forms = { exact: exactOptimum, printed: printedOptimum }
  const numerical = problems.map((problem) => numericalOptimum(problem, BETA))
  const both = (value: (form: typeof exactOptimum) => number) => ({
    exact: value(forms.exact),
    printed: value(forms.printed),
  })
  const average = (value: (problem: Problem, i: number) => number) =>
    problems.reduce((sum, problem, i) => sum + value(problem, i) / PROBLEMS, 0)
  const largest = (value: (problem: Problem, i: number) => number) => Math.max(...problems.map(value))
  const shift = (problem: Problem): Problem => ({ ...problem, estimate: problem.estimate.map((r) => r + 1) })
  return {
    responses: RESPONSES,
    problems: PROBLEMS,
    beta: BETA,
    distance: both((form) => largest((p, i) => distance(form(p, BETA), numerical[i] as Float64Array))),
    shortfall: both((form) =>
      average((p, i) => objective(p, BETA, numerical[i] as Float64Array) - objective(p, BETA, form(p, BETA))),
    ),
    atEqualConstraint: {
      epsilon: EPSILON,
      ...both((form) => average((p) => rewardOf(p.estimate, atConstraint(p, form, EPSILON)))),
    },
    shifted: both((form) => largest((p) => distance(form(shift(p), BETA), form(p, BETA)))),
  }
}
