/** Tail probabilities that the tests need, through the regularised incomplete beta function (continued fraction, Lentz). */

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
]

export function logGamma(x: number): number {
  const shifted = x - 1
  const t = shifted + 7.5
  const series = LANCZOS.slice(1).reduce(
    (sum, coefficient, i) => sum + coefficient / (shifted + i + 1),
    LANCZOS[0] as number,
  )
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(t) - t + Math.log(series)
}

const TINY = 1e-300

function betaFraction(a: number, b: number, x: number): number {
  let c = 1
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || TINY)
  let result = d
  for (let m = 1; m <= 500; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    let change = 1
    for (const numerator of [even, odd]) {
      d = 1 / (1 + numerator * d || TINY)
      c = 1 + numerator / c || TINY
      change = c * d
      result *= change
    }
    if (Math.abs(change - 1) < 1e-15) break
  }
  return result
}

/** I_x(a, b) */
export function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x))
  return x < (a + 1) / (a + b + 2) ? (front * betaFraction(a, b, x)) / a : 1 - (front * betaFraction(b, a, 1 - x)) / b
}

/** P(|T| >= |t|) for Student's t. */
export const studentTwoSided = (t: number, df: number): number => incompleteBeta(df / 2, 0.5, df / (df + t * t))

/** P(F >= f). */
export const fUpper = (f: number, df1: number, df2: number): number =>
  f <= 0 ? 1 : incompleteBeta(df2 / 2, df1 / 2, df2 / (df2 + df1 * f))

/** Inverse normal distribution by bisection; p in (0, 1). */
export function normalQuantile(p: number): number {
  let [low, high] = [-10, 10]
  for (let i = 0; i < 80; i += 1) {
    const middle = (low + high) / 2
    if (normalCdf(middle) < p) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Normal distribution function: series near 0, continued fraction in the tails. */
export function normalCdf(z: number): number {
  const x = Math.abs(z)
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
  let upper: number
  if (x < 4) {
    let [term, sum] = [x, x]
    for (let k = 1; k < 200 && term > 1e-18; k += 1) {
      term *= (x * x) / (2 * k + 1)
      sum += term
    }
    upper = 0.5 - density * sum
  } else {
    let fraction = 0
    for (let k = 60; k >= 1; k -= 1) fraction = k / (x + fraction)
    upper = density / (x + fraction)
  }
  return z > 0 ? 1 - upper : upper
}
