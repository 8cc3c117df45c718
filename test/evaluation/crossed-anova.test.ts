import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { Random } from '../../ts/data/random.js'
import {
  COMPONENTS,
  type ComponentName,
  type Components,
  crossedComponents,
  type GridShape,
  totalOf,
} from '../../ts/evaluation/uncertainty/crossed-anova.js'

interface CrossedCase {
  shape: GridShape
  values: number[]
  components: Components
}
const golden = JSON.parse(readFileSync('test/golden/uncertainty.json', 'utf8')) as { crossed: CrossedCase[] }
const NAMES = Object.keys(COMPONENTS) as ComponentName[]

test.each(golden.crossed)(
  'components as numpy has them by projections, grid $shape',
  ({ shape, values, components }) => {
    const found = crossedComponents(values, shape)
    for (const name of NAMES) expect(found[name]).toBeCloseTo(components[name], 10)
    // A head of another value is seen, and an offset of all is not.
    const shifted = crossedComponents(
      values.map((value) => value + 1e4),
      shape,
    )
    for (const name of NAMES) expect(shifted[name]).toBeCloseTo(components[name], 6)
    const changed = crossedComponents(
      values.map((value, cell) => (cell === 0 ? value + 1 : value)),
      shape,
    )
    expect(NAMES.some((name) => Math.abs(changed[name] - components[name]) > 1e-3)).toBe(true)
  },
)

test('over many grids the estimates average to what the effects were drawn with', () => {
  const truth: Components = { i: 1, d: 0.5, o: 0.2, id: 0.3, io: 0.1, do: 0.05, ido: 0.15 }
  const shape: GridShape = [4, 3, 3]
  const random = Random.from(5, 'crossed')
  const draws = 2000
  const sums = Object.fromEntries(NAMES.map((name) => [name, 0])) as Components
  for (let draw = 0; draw < draws; draw++) {
    const effects = Object.fromEntries(NAMES.map((name) => [name, new Map<string, number>()]))
    const effect = (name: ComponentName, key: string) => {
      const own = effects[name] as Map<string, number>
      if (!own.has(key)) own.set(key, random.normal(0, Math.sqrt(truth[name])))
      return own.get(key) as number
    }
    const values = Array.from({ length: 36 }, (_, cell) => {
      const at = { i: Math.floor(cell / 9), d: Math.floor(cell / 3) % 3, o: cell % 3 }
      return NAMES.reduce((sum, name) => sum + effect(name, [...name].map((f) => at[f as 'i']).join(',')), 0)
    })
    const found = crossedComponents(values, shape)
    for (const name of NAMES) sums[name] += found[name] / draws
  }
  // Standard errors are below 0.03; a component that took another's part would be off by more.
  for (const name of NAMES) expect(Math.abs(sums[name] - truth[name])).toBeLessThan(0.1)
  expect(Math.abs(totalOf(sums) - totalOf(truth))).toBeLessThan(0.15)
})

test('a grid that cannot be taken apart is refused by name', () => {
  expect(() => crossedComponents([1, 2], [2, 1, 1])).toThrow('samples')
  expect(() => crossedComponents([1, 2, 3], [2, 2, 2])).toThrow('values')
})
