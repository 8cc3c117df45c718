// Results are compared before anything is timed. A job whose sides disagree has no row.

/**
 * Tolerances by dtype of a contestant against the reference contestant (fp32), as error relative to the largest value (and at least
 * to `floor` of the quantity, so that values near zero are judged on the scale of the others).
 *  float32: the same sums in another order, through a dozen layers: PyTorch's own noise is 4e-6, typical mistakes are above 1e-4.
 *  bfloat16: 8 bits of significand through a dozen layers. A row's error grows with depth like sqrt(layers) / 256; mistakes of
 *  substance (a wrong last token, a head too few) move scores by their own size.
 */
export const TOLERANCES = { float32: 1e-4, bfloat16: 0.06 }

/**
 * Of a Bradley-Terry job: two steps, the first with gradient-norm clipping; what the second gives ("after") holds the update. A bf16
 * weight near 0.02 moves in steps of 6e-5, so most of an update of 1e-5 does not reach the next bf16 forward, in PyTorch's autocast just
 * as here: the loss after the update is 0.94 instead of 0.19. In bf16 the second step is therefore held against eager PyTorch's bf16.
 */
export const BRADLEY_TERRY_TOLERANCES = {
  tolerances: {
    float32: { loss: 1e-4, gradNorm: 1e-3, lossAfter: 1e-3, gradNormAfter: 5e-3 },
    bfloat16: { loss: 0.01, gradNorm: 0.02 },
  },
  also: {
    bfloat16: {
      reference: 'eager bf16',
      tolerances: { loss: 0.01, gradNorm: 0.02, lossAfter: 0.06, gradNormAfter: 0.06 },
    },
  },
}

/** max |a - b| / max(|b|) over one array; infinite when lengths differ or a value is not finite. */
export function relativeError(actual, expected) {
  if (actual.length !== expected.length || actual.length === 0) return Number.POSITIVE_INFINITY
  let worst = 0
  let scale = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i])
    if (!Number.isFinite(difference)) return Number.POSITIVE_INFINITY
    worst = Math.max(worst, difference)
    scale = Math.max(scale, Math.abs(expected[i]))
  }
  return worst / (scale || 1)
}

function toleranceOf(tolerance) {
  return (name) => (typeof tolerance === 'number' ? tolerance : (tolerance[name] ?? null))
}

/**
 * @param {Record<string, number[]>} actual
 * @param {Record<string, number[]>} expected quantities by name; those that only one side has are not compared
 * @param {number | Record<string, number | null> | ((name: string) => number)} tolerance one for all, or by name; null: not compared
 * @returns {{ errors: Record<string, number>, problems: string[] }}
 */
export function compareResults(actual, expected, tolerance) {
  const allowed = typeof tolerance === 'function' ? tolerance : toleranceOf(tolerance)
  const names = Object.keys(expected).filter((name) => name in actual && allowed(name) !== null)
  const errors = Object.fromEntries(names.map((name) => [name, relativeError(actual[name], expected[name])]))
  const problems = names
    .filter((name) => !(errors[name] <= allowed(name)))
    .map(
      (name) => `${name} is off by ${errors[name].toPrecision(3)}, allowed is ${Number(allowed(name).toPrecision(3))}`,
    )
  if (names.length === 0) problems.push('the two sides have no result in common')
  return { errors, problems }
}

/**
 * Rounding to bf16 cannot be held against another bf16 result: PyTorch's own may be the one that is off (its layer_norm adds the weight's
 * gradient up in bf16: 0.14 over 8192 tokens). Both are held against the same numbers computed in fp32.
 *  factor, floor: ours may be off by as much again as the yardstick, or by half a unit in the last place of bf16 where that happens to be
 *  exact; the same two as in native/tests/support/tolerances.h.
 *  most: what anybody may be off by, the yardstick too: mistakes of substance are of order one.
 */
export const BF16_TRUTH = { factor: 2, floor: 1 / 256, most: 0.25 }

/**
 * What each result of ours may be off by from the truth.
 * @param {Record<string, number>} errors of the yardstick; none: it is not there, and only gross mistakes show
 * @param {{ factor: number, floor: number, most: number }} rule
 * @returns {(name: string) => number}
 */
export function allowedErrors(errors, { factor, floor, most }) {
  return (name) => (errors?.[name] === undefined ? most : Math.min(most, Math.max(floor, factor * errors[name])))
}
