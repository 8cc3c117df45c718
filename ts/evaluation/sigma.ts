/**
 * sigma(x, y): the sample standard deviation (ddof 1) over heads of the scores of one response. Bradley-Terry fixes a head's scores only up
 * to a constant, so raw sigma holds the spread of these constants; centring takes it away.
 */
import { correlation, mean, standardDeviation, variance } from './describe.js'
import { groupRows } from './reward-bench.js'
import { meanOverHeads, rowOf, type ScoreMatrix, scoreOf } from './score-matrix.js'

export type SigmaCenter = 'none' | 'reference' | 'prompt'

/** Each head's mean over the rows, [heads]: the offsets that `reference` centring subtracts. */
export function headMeans(matrix: ScoreMatrix): Float64Array {
  const means = new Float64Array(matrix.heads)
  for (let row = 0; row < matrix.rows; row += 1) {
    for (let head = 0; head < matrix.heads; head += 1)
      means[head] = (means[head] as number) + scoreOf(matrix, row, head) / matrix.rows
  }
  return means
}

/** Scores with each head's offset taken away; `prompt` takes the mean over the rows of one prompt, `groups[row]`. */
export function centred(
  matrix: ScoreMatrix,
  center: SigmaCenter,
  groups: readonly string[] = [],
  offsets = headMeans(matrix),
): ScoreMatrix {
  if (center === 'none') return matrix
  if (center === 'reference') return subtractOffsets(matrix, () => offsets)
  const rowsOf = groupRows(groups)
  const means = new Map([...rowsOf].map(([group, rows]) => [group, groupMeans(matrix, rows)]))
  return subtractOffsets(matrix, (row) => means.get(groups[row] as string) ?? offsets)
}

function groupMeans(matrix: ScoreMatrix, rows: readonly number[]): Float64Array {
  return Float64Array.from({ length: matrix.heads }, (_, head) => mean(rows.map((row) => scoreOf(matrix, row, head))))
}

function subtractOffsets(matrix: ScoreMatrix, offsetsOf: (row: number) => ArrayLike<number>): ScoreMatrix {
  const values = matrix.values.map((value, i) => {
    const row = Math.floor(i / matrix.heads)
    return value - (offsetsOf(row)[i % matrix.heads] as number)
  })
  return { ...matrix, values }
}

/** Standard deviation over heads of each row. */
export function sigmaOverHeads(matrix: ScoreMatrix): Float64Array {
  return Float64Array.from({ length: matrix.rows }, (_, row) => standardDeviation(rowOf(matrix, row)))
}

/** sigma of each row, of columns that are centred first: over heads, or where a spread is given the root of its sum of squares. */
export function sigmaOf(
  { scores, spread }: { scores: ScoreMatrix; spread?: ScoreMatrix | undefined },
  center: SigmaCenter,
  prompts: readonly string[],
): Float64Array {
  if (spread === undefined) return sigmaOverHeads(centred(scores, center, prompts))
  // Of a closed form each column is linear in the features, as a head is: what centres a head centres it.
  const columns = centred(spread, center, prompts)
  return Float64Array.from({ length: columns.rows }, (_, row) =>
    Math.sqrt(rowOf(columns, row).reduce((sum, value) => sum + value ** 2, 0)),
  )
}

export interface SigmaQualityInput {
  scores: ScoreMatrix
  /** Columns whose sum of squares is the variance; absent: sigma is over the heads. */
  spread?: ScoreMatrix | undefined
  center: SigmaCenter
  /** One prompt a row. */
  prompts: readonly string[]
  /** True reward of each row. */
  truth: readonly number[]
  /** Whether the row is of a kind that preference data hardly holds. */
  scarce: readonly boolean[]
}

export interface SigmaQualityResult {
  samples: number
  mean: number
  cv: number
  withinPromptShare: number
  errorCorrelation: number
  scarceCommonRatio: number
  sigma: Float64Array
}

export function sigmaQuality(input: SigmaQualityInput): SigmaQualityResult {
  const sigma = sigmaOf(input, input.center, input.prompts)
  const predicted = meanOverHeads(input.scores)
  const [meanPredicted, meanTruth] = [mean(predicted), mean(input.truth)]
  const errors = predicted.map((value, row) =>
    Math.abs(value - meanPredicted - ((input.truth[row] as number) - meanTruth)),
  )
  const of = (kind: boolean) => mean([...sigma].filter((_, row) => input.scarce[row] === kind))
  return {
    samples: input.scores.rows,
    mean: mean(sigma),
    cv: standardDeviation(sigma) / mean(sigma),
    withinPromptShare: withinGroupShare(sigma, input.prompts),
    errorCorrelation: correlation(sigma, errors),
    scarceCommonRatio: of(true) / of(false),
    sigma,
  }
}

/** Share of the variance that lies within groups. */
export function withinGroupShare(values: ArrayLike<number>, groups: readonly string[]): number {
  // Unbiased within-group variance, so that groups of two do not look tighter than groups of twenty.
  let [sum, degrees] = [0, 0]
  for (const rows of groupRows(groups).values()) {
    const list = rows.map((row) => values[row] as number)
    const centre = mean(list)
    sum += list.reduce((total, value) => total + (value - centre) ** 2, 0)
    degrees += list.length - 1
  }
  return degrees === 0 ? 0 : sum / degrees / variance(values)
}
