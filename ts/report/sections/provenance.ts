/** What was run, with which data, config, versions and how long. */
import { stringify } from 'yaml'
import type { Summary } from '../../study/summary.js'
import { bytes, seconds } from '../format.js'
import { html, type Markup, table } from '../markup.js'
import { section } from '../page.js'

export function provenance(summary: Summary): Markup {
  const { environment: env, layout } = summary
  const total = summary.timings.reduce((sum, t) => sum + t.seconds, 0)
  return section(
    'run',
    'What was run',
    html`<p>Layout: ${layout.ensembles} ensembles × ${layout.heads} heads × ${layout.trials} trials. ${layout.description} Seed ${String(summary.seed)}.</p>
${table(
  [
    { title: 'data', cell: (d: Summary['data'][number]) => d.name },
    { title: 'file', cell: (d) => html`<code>${d.file}</code>` },
    { title: 'rows', numeric: true, cell: (d) => d.rows },
    { title: 'used', numeric: true, cell: (d) => d.used },
    {
      title: 'left out',
      cell: (d) =>
        Object.entries(d.dropped)
          .filter(([, n]) => n > 0)
          .map(([why, n]) => `${n} ${why}`)
          .join(', ') || 'none',
    },
  ],
  summary.data,
)}
${table(
  [
    { title: 'stage', cell: (t: Summary['timings'][number]) => t.stage },
    { title: 'time', numeric: true, cell: (t) => seconds(t.seconds) },
    { title: 'units', numeric: true, cell: (t) => t.units },
  ],
  [...summary.timings, { stage: 'all', seconds: total, units: summary.timings.reduce((sum, t) => sum + t.units, 0) }],
)}
<p class="soft">prudent ${env.prudent}, Node ${env.node}, libtorch ${env.libtorch}, ${env.cpu}, ${env.cores} cores, ${env.lanes} lanes of
${env.threadsPerLane} threads, peak memory ${bytes(summary.peakMemoryBytes)}.</p>
<p>Every number of this page is in <code>summary.json</code> beside it. Made again by</p>
<pre>npx prudent reproduce --config config.yaml --output ANOTHER-FOLDER
npx prudent report --run THIS-FOLDER</pre>
<details><summary>The whole config</summary><pre>${stringify(summary.config)}</pre></details>`,
  )
}
