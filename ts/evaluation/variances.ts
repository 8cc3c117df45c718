/** The paper's figure 6: per section, the variance over heads of the accepted response's score and of accepted - rejected. */
import { type HistogramData, histogram, variance } from './describe.js'
import { groupRows, sectionNames, sectionOf } from './reward-bench.js'
import { differenceOf, rowOf, type ScoreMatrix, selectRows } from './score-matrix.js'

export interface SectionVariances {
  section: string
  pairs: number
  accepted: HistogramData
  difference: HistogramData
}

/** Sample variance (ddof 1) over heads of each row. */
export const varianceOverHeads = (matrix: ScoreMatrix): Float64Array =>
  Float64Array.from({ length: matrix.rows }, (_, row) => variance(rowOf(matrix, row)))

export function sectionVariances(
  chosen: ScoreMatrix,
  rejected: ScoreMatrix,
  subsets: readonly string[],
  bins = 24,
): SectionVariances[] {
  const rowsOf = groupRows(subsets.map(sectionOf))
  const difference = differenceOf(chosen, rejected)
  return sectionNames().flatMap((section) => {
    const rows = rowsOf.get(section)
    if (!rows) return []
    const of = (matrix: ScoreMatrix) => histogram(varianceOverHeads(selectRows(matrix, rows)), bins)
    return [{ section, pairs: rows.length, accepted: of(chosen), difference: of(difference) }]
  })
}
