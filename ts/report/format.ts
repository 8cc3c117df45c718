/** Numbers as the report prints them. */
import type { Interval } from '../study/summary.js'

/** `digits` significant digits, without an exponent for ordinary sizes. */
export function significant(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return String(value)
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-4) return value.toExponential(digits - 1)
  return value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))))
}

export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`
}

export function interval({ estimate, low, high }: Interval, format: (value: number) => string = significant): string {
  return `${format(estimate)} [${format(low)}, ${format(high)}]`
}

export function seconds(value: number): string {
  if (value < 60) return `${value.toFixed(1)} s`
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`
}

export function bytes(value: number): string {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(2)} GiB` : `${(value / 2 ** 20).toFixed(0)} MiB`
}
