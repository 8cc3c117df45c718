/** What an experiment on models that exist shows: figures 8, 10 and 11, and the clock; the judge and the benchmark have pages of their own. */
import type { ExperimentSummary } from '../study/experiment/summary.js'
import { GROUP_COLOURS } from './chart.js'
import { bandChart } from './figures/curves.js'
import { lossesChart } from './figures/losses.js'
import { percent, seconds, significant } from './format.js'
import { type Column, html, type Markup, table } from './markup.js'
import { figure, section } from './page.js'

type Method = ExperimentSummary['methods'][number]

export async function experimentSections(summary: ExperimentSummary): Promise<Markup> {
  const [losses, kl, proxy] = await Promise.all([
    lossesChart([
      { model: 'reward model', loss: summary.reward.loss },
      { model: 'heads, mean', loss: summary.ensemble.loss },
    ]),
    curves(summary, 'kl', 'KL to the reference, nats'),
    curves(summary, 'proxyReward', 'reward of the policy’s own head'),
  ])
  const { reward, ensemble, commands, environment } = summary
  const accuracies = ensemble.heldOutAccuracyPerHead ?? []
  return html`${section(
    'ppo',
    'Policies in training',
    html`${table(METHOD_COLUMNS, summary.methods)}
${figure(kl, 'Figure 10: mean and one standard deviation over policies.')}
${figure(proxy, 'Figure 11: mean and one standard deviation over policies.')}`,
  )}${section(
    'models',
    'Reward model and heads',
    html`${figure(losses, 'Figure 8: training losses.')}
<p>Single reward model: ${reward.steps} steps, held-out accuracy ${reward.heldOutAccuracy === null ? 'not measured' : percent(reward.heldOutAccuracy)}.
${accuracies.length} heads: ${ensemble.steps} steps${accuracies.length === 0 ? '' : `, held-out accuracy ${percent(Math.min(...accuracies))} to ${percent(Math.max(...accuracies))}`}.</p>`,
  )}${section(
    'run',
    'Run',
    html`<p>prudent ${environment.prudent}, Node ${environment.node}; ${environment.processes} processes on ${environment.devices.join(', ')}.</p>
${table(COMMAND_COLUMNS, commands)}
<details><summary>The whole config</summary><pre>${JSON.stringify(summary.config, null, 2)}</pre></details>`,
  )}`
}

const spread = ({ mean, std }: Method['lastKl']) => `${significant(mean)} ± ${significant(std)}`

const METHOD_COLUMNS: Column<Method>[] = [
  { title: 'method', cell: ({ name }) => name },
  { title: 'policies', numeric: true, cell: ({ policies }) => policies },
  { title: 'learning rate', numeric: true, cell: ({ lr }) => significant(lr, 4) },
  { title: 'β', numeric: true, cell: ({ beta }) => significant(beta) },
  { title: 'KL of the last step', numeric: true, cell: ({ lastKl }) => spread(lastKl) },
  { title: 'gain of the reward', numeric: true, cell: ({ proxyGain }) => spread(proxyGain) },
]

const COMMAND_COLUMNS: Column<ExperimentSummary['commands'][number]>[] = [
  { title: 'command', cell: ({ name }) => name },
  { title: 'wall clock', numeric: true, cell: (row) => seconds(row.seconds) },
]

function curves({ methods }: ExperimentSummary, quantity: 'kl' | 'proxyReward', title: string): Promise<Markup> {
  const domain = methods.map(({ name }) => name)
  const range = domain.map((_, i) => GROUP_COLOURS[i % GROUP_COLOURS.length] as string)
  const values = methods.map((method) => ({ recipe: '', method: method.name, curve: method[quantity] }))
  return bandChart(values, { domain, range }, title)
}
