// Cost against work: points of the result files as SVG line charts.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Legible on light and on dark ground. */
const INK = '#7a828e'
const COLOURS = ['#6366d8', '#d94a4a', '#0e97a7', '#b7791f']

const CONFIG = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: 'transparent' },
  axis: { labelColor: INK, titleColor: INK, tickColor: INK, domainColor: INK, gridColor: INK, gridOpacity: 0.18 },
  legend: { labelColor: INK, titleColor: INK, orient: 'top', title: null },
  title: { color: INK },
  range: { category: COLOURS },
}

function specOf(name, points) {
  const [{ curve }] = points
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: curve.title,
    width: 460,
    height: 240,
    data: { values: points.map(({ curve: { series, x, y } }) => ({ series, x, y })) },
    mark: { type: 'line', point: true },
    encoding: {
      x: { field: 'x', type: 'quantitative', scale: { type: 'log', base: 2 }, title: curve.xTitle },
      y: { field: 'y', type: 'quantitative', scale: { zero: true }, title: curve.yTitle },
      color: { field: 'series', type: 'nominal' },
    },
    name,
  }
}

async function render(spec) {
  const [vega, { compile }] = [await import('vega'), await import('vega-lite')]
  const compiled = compile({ ...spec, config: CONFIG }).spec
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logLevel: vega.Error })
  try {
    return await view.toSVG()
  } finally {
    view.finalize()
  }
}

/** One file a curve: <folder>/bench-<name>.svg. @returns {Promise<string[]>} the files */
export async function drawCurves(points, folder) {
  const names = [...new Set(points.map(({ curve }) => curve.name))]
  const files = []
  for (const name of names) {
    const own = points.filter(({ curve }) => curve.name === name).sort((a, b) => a.curve.x - b.curve.x)
    const file = join(folder, `bench-${name}.svg`)
    writeFileSync(file, `${await render(specOf(name, own))}\n`)
    files.push(file)
  }
  return files
}
