/** The report of a single training run: every metric against the step. */
import { chart } from './chart.js'
import { significant } from './format.js'
import { html, table } from './markup.js'
import { figure, page } from './page.js'

export type MetricsLine = Record<string, unknown>

interface Series {
  name: string
  points: { step: number; value: number }[]
}

export function metricSeries(lines: readonly MetricsLine[]): Series[] {
  const series = new Map<string, Series>()
  lines.forEach((line, index) => {
    const step = typeof line.step === 'number' ? line.step : index
    for (const [name, value] of Object.entries(line)) {
      if (name === 'step' || typeof value !== 'number' || !Number.isFinite(value)) continue
      const entry = series.get(name) ?? { name, points: [] }
      entry.points.push({ step, value })
      series.set(name, entry)
    }
  })
  return [...series.values()].filter((s) => s.points.length > 1)
}

export async function trainingReport(name: string, lines: readonly MetricsLine[], config: string): Promise<string> {
  const series = metricSeries(lines)
  const drawings = await Promise.all(
    series.map((s) =>
      chart(`${s.name} by step`, {
        data: { values: s.points },
        width: 420,
        height: 150,
        mark: { type: 'line', strokeWidth: 1.5 },
        encoding: {
          x: { field: 'step', type: 'quantitative' },
          y: { field: 'value', type: 'quantitative', title: null, scale: { zero: false } },
        },
      }),
    ),
  )
  const last = series.map((s) => ({ name: s.name, value: s.points.at(-1)?.value ?? Number.NaN }))
  return page(
    `${name}: training run`,
    html`<h1>Training run “${name}”</h1>
${table(
  [
    { title: 'metric', cell: (r: (typeof last)[number]) => r.name },
    { title: 'last value', numeric: true, cell: (r) => significant(r.value, 4) },
  ],
  last,
)}
${drawings.map((drawing, i) => figure(drawing, series[i]?.name))}
<details><summary>The whole config</summary><pre>${config}</pre></details>`,
  )
}
