/** Chi-square distribution functions, central and noncentral, through the regularised incomplete gamma function. */
import { logGamma } from '../study/statistics/distributions.js'

const PRECISION = 1e-16
const MOST_TERMS = 100_000

/** P(a, x): series where x is small against a, continued fraction (Lentz) for its complement elsewhere. */
export function regularisedGamma(a: number, x: number): number {
  if (x <= 0) return 0
  const front = Math.exp(a * Math.log(x) - x - logGamma(a))
  return x < a + 1 ? front * gammaSeries(a, x) : 1 - front * gammaFraction(a, x)
}

function gammaSeries(a: number, x: number): number {
  let [term, sum] = [1 / a, 1 / a]
  for (let n = 1; n < MOST_TERMS && term > sum * PRECISION; n += 1) {
    term *= x / (a + n)
    sum += term
  }
  return sum
}

function gammaFraction(a: number, x: number): number {
  const tiny = 1e-300
  let b = x + 1 - a
  let c = 1 / tiny
  let d = 1 / b
  let result = d
  for (let n = 1; n < MOST_TERMS; n += 1) {
    const numerator = -n * (n - a)
    b += 2
    d = 1 / (numerator * d + b || tiny)
    c = b + numerator / c || tiny
    result *= c * d
    if (Math.abs(c * d - 1) < PRECISION) break
  }
  return result
}

/** P(X <= x), X chi-square with `df` degrees of freedom. */
export const chiSquareCdf = (x: number, df: number): number => regularisedGamma(df / 2, x / 2)

/**
 * P(X <= x), X noncentral chi-square: a Poisson(noncentrality / 2) mixture of central ones. Summed from the mode of the weights
 * outwards, so that neither end underflows; what lies further than ten standard deviations is below 1e-20.
 */
export function noncentralChiSquareCdf(x: number, df: number, noncentrality: number): number {
  if (x <= 0) return 0
  const rate = noncentrality / 2
  if (rate === 0) return chiSquareCdf(x, df)
  const reach = Math.ceil(10 * Math.sqrt(rate) + 20)
  const mode = Math.floor(rate)
  let sum = 0
  for (let j = Math.max(0, mode - reach); j <= mode + reach; j += 1) {
    const weight = Math.exp(j * Math.log(rate) - rate - logGamma(j + 1))
    sum += weight * chiSquareCdf(x, df + 2 * j)
  }
  return Math.min(1, sum)
}
