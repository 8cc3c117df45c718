/**
 * Variance components of heads that were trained over a crossed grid: every start with every sample of the pairs in every order. A score is
 * the sum of random effects of the three and of their meetings; with one head a cell, the meeting of all three is what is left. Each
 * component is estimated without bias from the mean squares of the balanced analysis of variance (ANOVA estimators, model II:
 * Searle, Casella & McCulloch 1992, chapter 4), so that small ones may come out below 0, and their sum estimates the variance of a
 * head whose start, sample and order are all its own.
 */
import { argumentError } from '../../errors.js'

export const COMPONENTS = {
  i: 'initialisation',
  d: 'data',
  o: 'order',
  id: 'initialisation × data',
  io: 'initialisation × order',
  do: 'data × order',
  ido: 'all three',
} as const
export type ComponentName = keyof typeof COMPONENTS
export type Components = Record<ComponentName, number>

/** Levels of initialisation, data and order. */
export type GridShape = readonly [initialisations: number, samples: number, orders: number]

export function checkGrid(shape: GridShape): void {
  const names = ['initialisations', 'samples', 'orders']
  shape.forEach((levels, factor) => {
    if (!Number.isInteger(levels) || levels < 2)
      throw argumentError('E_RANGE', names[factor] as string, 'a whole number >= 2', String(levels))
  })
}

/** values [initialisations, samples, orders] row-major: one response's scores by every head of the grid. */
export function crossedComponents(values: ArrayLike<number>, shape: GridShape): Components {
  checkGrid(shape)
  const [a, b, c] = shape
  if (values.length !== a * b * c) throw argumentError('E_SHAPE', 'values', `${a} x ${b} x ${c}`, String(values.length))
  const squares = uncorrected(values, shape)
  const { none } = squares
  const ms = {
    i: (squares.i - none) / (a - 1),
    d: (squares.d - none) / (b - 1),
    o: (squares.o - none) / (c - 1),
    id: (squares.id - squares.i - squares.d + none) / ((a - 1) * (b - 1)),
    io: (squares.io - squares.i - squares.o + none) / ((a - 1) * (c - 1)),
    do: (squares.do - squares.d - squares.o + none) / ((b - 1) * (c - 1)),
    ido:
      (squares.ido - squares.id - squares.io - squares.do + squares.i + squares.d + squares.o - none) /
      ((a - 1) * (b - 1) * (c - 1)),
  }
  return {
    i: (ms.i - ms.id - ms.io + ms.ido) / (b * c),
    d: (ms.d - ms.id - ms.do + ms.ido) / (a * c),
    o: (ms.o - ms.io - ms.do + ms.ido) / (a * b),
    id: (ms.id - ms.ido) / c,
    io: (ms.io - ms.ido) / b,
    do: (ms.do - ms.ido) / a,
    ido: ms.ido,
  }
}

export const totalOf = (components: Components): number =>
  (Object.keys(COMPONENTS) as ComponentName[]).reduce((sum, name) => sum + components[name], 0)

/** Sum over cells of the squared mean over what a name leaves out; the grand mean is taken off first, or it would drown the rest. */
function uncorrected(values: ArrayLike<number>, [a, b, c]: GridShape): Components & { none: number } {
  let grand = 0
  for (let cell = 0; cell < values.length; cell += 1) grand += (values[cell] as number) / values.length
  const sums = {
    i: new Float64Array(a),
    d: new Float64Array(b),
    o: new Float64Array(c),
    id: new Float64Array(a * b),
    io: new Float64Array(a * c),
    do: new Float64Array(b * c),
  }
  let [all, left] = [0, 0]
  const add = (to: Float64Array, at: number, value: number) => {
    to[at] = (to[at] as number) + value
  }
  for (let cell = 0; cell < values.length; cell += 1) {
    const [i, d, o] = [Math.floor(cell / (b * c)), Math.floor(cell / c) % b, cell % c]
    const value = (values[cell] as number) - grand
    all += value ** 2
    left += value
    add(sums.i, i, value)
    add(sums.d, d, value)
    add(sums.o, o, value)
    add(sums.id, i * b + d, value)
    add(sums.io, i * c + o, value)
    add(sums.do, d * c + o, value)
  }
  const square = (totals: Float64Array) =>
    totals.reduce((sum, total) => sum + total ** 2, 0) / (values.length / totals.length)
  return {
    ...{ none: left ** 2 / values.length, ido: all },
    ...{ i: square(sums.i), d: square(sums.d), o: square(sums.o) },
    ...{ id: square(sums.id), io: square(sums.io), do: square(sums.do) },
  }
}
