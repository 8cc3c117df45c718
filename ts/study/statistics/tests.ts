import { argumentError } from '../../errors.js'
import { correlation, mean, median } from '../../evaluation/describe.js'
import { fUpper, studentTwoSided } from './distributions.js'

export interface TestResult {
  statistic: number
  p: number
}

/**
 * Equal variances of paired samples (Pitman 1939, Morgan 1939): Var x = Var y exactly when x + y and x - y are uncorrelated.
 * @returns t with n - 2 degrees of freedom (negative when y varies more) and the two-sided p.
 */
export function pitmanMorgan(x: readonly number[], y: readonly number[]): TestResult {
  if (x.length !== y.length || x.length < 3) {
    throw argumentError(
      'E_SHAPE',
      'pitmanMorgan',
      'two samples of one length >= 3',
      `${x.length} and ${y.length} values`,
    )
  }
  const sums = x.map((value, i) => value + (y[i] as number))
  const differences = x.map((value, i) => value - (y[i] as number))
  const r = correlation(sums, differences)
  // Identical samples do not vary in their difference: no evidence of unequal variances.
  if (!Number.isFinite(r)) return { statistic: 0, p: 1 }
  const df = x.length - 2
  const statistic = r * Math.sqrt(df / Math.max(1 - r * r, Number.EPSILON))
  return { statistic, p: studentTwoSided(statistic, df) }
}

/** Levene's test of equal variances of independent groups: absolute deviations from the mean. */
export const levene = (...groups: (readonly number[])[]): TestResult => spreadTest(groups, mean)

/** Brown-Forsythe: as Levene's with deviations from the median. */
export const brownForsythe = (...groups: (readonly number[])[]): TestResult => spreadTest(groups, median)

function spreadTest(
  groups: readonly (readonly number[])[],
  centreOf: (values: readonly number[]) => number,
): TestResult {
  if (groups.length < 2 || groups.some((group) => group.length < 2)) {
    throw argumentError(
      'E_SHAPE',
      'groups',
      'at least two groups of two values',
      groups.map((group) => group.length).join(', '),
    )
  }
  const deviations = groups.map((group) => {
    const centre = centreOf(group)
    return group.map((value) => Math.abs(value - centre))
  })
  const all = deviations.flat()
  const grand = mean(all)
  const between = deviations.reduce((sum, group) => sum + group.length * (mean(group) - grand) ** 2, 0)
  const within = deviations.reduce((sum, group) => {
    const centre = mean(group)
    return sum + group.reduce((inner, value) => inner + (value - centre) ** 2, 0)
  }, 0)
  const [df1, df2] = [groups.length - 1, all.length - groups.length]
  const statistic = within === 0 ? (between === 0 ? 0 : Number.MAX_VALUE) : between / df1 / (within / df2)
  return { statistic, p: fUpper(statistic, df1, df2) }
}
