/** What a study says about figures 1 and 6 to 12 and tables 2 to 8. */
import type { Recipe, Summary } from '../../study/summary.js'
import { methodName, RECIPE_NAMES } from '../arms.js'
import { bytes, percent, seconds, significant } from '../format.js'
import { PAPER, PAPER_VARIANCES } from '../paper-numbers.js'
import type { Ours } from './rows.js'

/** A row of the paper; `ours` reads a study. */
interface Reading {
  item: string
  quantity: string
  paper: string
  ours: (summary: Summary) => string | null
}

export function studyRows(summary: Summary | null): Ours[] {
  return [...READINGS, ...distributionReadings()].map(({ ours, ...row }) => ({
    ...row,
    ours: summary && ours(summary),
  }))
}

const range = (values: readonly number[], format = (value: number) => significant(value)): string =>
  values.length === 0 ? '' : `${format(Math.min(...values))} to ${format(Math.max(...values))}`

const primary = (summary: Summary) => summary.verdicts.list.find((verdict) => verdict.primary)

/** The recipe of the primary comparison, else the first there is. */
const mainRecipe = (summary: Summary): Recipe => primary(summary)?.recipe ?? (summary.arms[0]?.recipe as Recipe)

/** Values of an unknown config by path; a study's config is kept as it ran. */
function setting(summary: Summary, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], summary.config)
}

function settings(summary: Summary, named: Record<string, string>): string | null {
  const parts = Object.entries(named).flatMap(([name, path]) => {
    const value = setting(summary, path)
    return value === undefined
      ? []
      : [`${name} ${typeof value === 'number' ? Number(value.toPrecision(4)) : String(value)}`]
  })
  return parts.length === 0 ? null : parts.join(', ')
}

const stageSeconds = (summary: Summary, beginning: string): number =>
  summary.timings.filter(({ stage }) => stage.startsWith(beginning)).reduce((sum, timing) => sum + timing.seconds, 0)

const hardware = ({ environment }: Summary) => `${environment.cpu}, ${environment.cores} cores`

/** The treatment of the primary comparison and its baseline. */
function pair(summary: Summary) {
  const verdict = primary(summary)
  const arm = (id: string | undefined) => summary.arms.find((entry) => entry.id === id)
  return { vanilla: arm(verdict?.baseline), aware: arm(verdict?.treatment) }
}

const of = (spread: { mean: number; std: number } | undefined) =>
  spread ? `${significant(spread.mean)} ± ${significant(spread.std)}` : 'none'

const READINGS: Reading[] = [
  {
    item: 'Figure 1',
    quantity: 'scores of the heads on one response',
    paper: 'a wide variation',
    ours: ({ figures: { oneResponse } }) =>
      `${range(oneResponse.scores)} over ${oneResponse.scores.length} heads (${RECIPE_NAMES[oneResponse.recipe]})`,
  },
  {
    item: 'Figure 6',
    quantity: 'variance over heads, accepted response',
    paper: PAPER_VARIANCES,
    ours: (summary) => variances(summary, 'accepted'),
  },
  {
    item: 'Figure 6',
    quantity: 'variance over heads, accepted − rejected',
    paper: 'not all at zero: heads are no translations of one another',
    ours: (summary) => variances(summary, 'difference'),
  },
  {
    item: 'Figure 8',
    quantity: 'where training loss ends, single model',
    paper: 'stopped below 0.4 (section 4: 0.3)',
    ours: ({ rewardModel }) =>
      `${significant(rewardModel.loss.at(-1)?.loss ?? Number.NaN)} after ${rewardModel.steps} steps${rewardModel.stoppedEarly ? ', stopped early' : ''}`,
  },
  {
    item: 'Figure 8',
    quantity: 'where training loss ends, heads',
    paper: 'near 0.2 a head',
    ours: (summary) => {
      const own = summary.ensembles.filter(({ recipe }) => recipe === mainRecipe(summary))
      return range(own.flatMap((ensemble) => ensemble.finalLossPerHead))
    },
  },
  {
    item: 'Figure 9',
    quantity: 'accuracy of each head beside the single model',
    paper: 'on par in all four sections',
    ours: (summary) =>
      summary.figures.accuracies
        .filter(({ recipe }) => recipe === mainRecipe(summary))
        .map(
          ({ section, heads, single }) =>
            `${section} ${range(heads, (x) => percent(x, 0))} (single ${percent(single, 0)})`,
        )
        .join('; '),
  },
  {
    item: 'Figure 10',
    quantity: 'final KL, vanilla / variance-aware',
    paper: `both ${PAPER.finalKl.join(' to ')} nats`,
    ours: (summary) => `${of(pair(summary).vanilla?.finalKl)} / ${of(pair(summary).aware?.finalKl)}`,
  },
  {
    item: 'Figure 11',
    quantity: 'gain of the proxy reward, vanilla / variance-aware',
    paper: 'a curve; numbers not given',
    ours: (summary) =>
      `${of(pair(summary).vanilla?.proxyGain)} / ${of(pair(summary).aware?.proxyGain)} standard deviations of the reference`,
  },
  {
    item: 'Table 2',
    quantity: 'settings of the single reward model',
    paper: 'batch 32, lr 1e-5, weight decay 0.001, cosine, 1 epoch, 4125 steps',
    ours: (summary) => {
      const read = settings(summary, {
        batch: 'rewardModel.batchSize',
        lr: 'rewardModel.optimiser.lr',
        'weight decay': 'rewardModel.optimiser.weightDecay',
        schedule: 'rewardModel.schedule.shape',
      })
      return read && `${read}, ${summary.rewardModel.steps} steps`
    },
  },
  {
    item: 'Table 3',
    quantity: 'cost of the single reward model',
    paper: '4 × A40, 12.68 GB, 51 h',
    ours: (summary) => `${hardware(summary)}, ${seconds(stageSeconds(summary, 'reward-model'))}`,
  },
  {
    item: 'Table 4',
    quantity: 'settings of the heads',
    paper: 'batch 32, lr 1e-5, weight decay 0.001, cosine, 0.5 epoch, 2060 steps',
    ours: (summary) => {
      const main = mainRecipe(summary)
      const recipe = main === 'paper-keep-first' ? 'paper' : main
      return settings(summary, {
        batch: `heads.${recipe}.batchSize`,
        lr: `heads.${recipe}.optimiser.lr`,
        'weight decay': `heads.${recipe}.optimiser.weightDecay`,
        schedule: `heads.${recipe}.schedule.shape`,
        steps: `heads.${recipe}.steps`,
        'prior precision': `heads.${recipe}.priorPrecision`,
        'dropout rate': `heads.${recipe}.rate`,
        layers: `heads.${recipe}.layers`,
      })
    },
  },
  {
    item: 'Table 5',
    quantity: 'cost of the heads',
    paper: '4 × A40, 6.12 GB, 7 h',
    ours: (summary) => `${hardware(summary)}, ${seconds(stageSeconds(summary, 'ensembles'))}`,
  },
  ...(['vanilla', 'aware'] as const).map(
    (method): Reading => ({
      item: method === 'vanilla' ? 'Table 6' : 'Table 7',
      quantity: `settings of PPO, ${method === 'vanilla' ? 'vanilla' : 'variance-aware'}`,
      paper: `batch 128, lr ${method === 'vanilla' ? '1.414e-5' : '1.5e-5'}, 192 steps, β ${method === 'vanilla' ? 0.2 : 0.05}, no adaptive KL`,
      ours: (summary) => {
        const read = settings(summary, { batch: 'ppo.batchSize', lr: 'ppo.optimiser.lr', steps: 'ppo.steps' })
        const beta = pair(summary)[method]?.beta
        return read && `${read}, β ${beta === undefined ? 'none' : significant(beta)}`
      },
    }),
  ),
  {
    item: 'Table 8',
    quantity: 'cost of a policy',
    paper: '4 × A40, 18.4 GB, 3.86 h',
    ours: (summary) => {
      const policies = summary.policies.length
      if (policies === 0) return null
      const each = stageSeconds(summary, 'policies') / policies
      return `${hardware(summary)}, ${bytes(summary.peakMemoryBytes)} (the whole process), ${seconds(each)}`
    },
  },
]

function variances(summary: Summary, which: 'accepted' | 'difference'): string {
  return summary.figures.variances
    .filter(({ recipe }) => recipe === mainRecipe(summary))
    .map((entry) => {
      const { median, max } = entry[which]
      return `${entry.section} median ${significant(median)}, maximum ${significant(max)}`
    })
    .join('; ')
}

/** Figures 7 (40 policies a method) and 12 (100): the one whose number of policies is nearer is ours. */
function distributionReadings(): Reading[] {
  const figures = [
    { item: 'Figure 7', policies: 40, numbers: PAPER.figure7 },
    { item: 'Figure 12', policies: 100, numbers: PAPER.figure12 },
  ]
  return figures.flatMap(({ item, numbers }) =>
    numbers.map(({ method, mean, variance }) => ({
      item,
      quantity: `mean / variance over policies, ${method}`,
      paper: `${mean} / ${variance}`,
      ours: (summary) => (figureOf(summary) === item ? distribution(summary, method) : null),
    })),
  )
}

const figureOf = (summary: Summary) => ((pair(summary).vanilla?.policies ?? 0) > 70 ? 'Figure 12' : 'Figure 7')

function distribution(summary: Summary, method: string): string | null {
  const { vanilla, aware } = pair(summary)
  const arm = method === 'vanilla PPO' ? vanilla : aware
  const parts = summary.figures.judged.flatMap(({ judge, reference, arms }) => {
    const name = judge === 'truth' ? 'true reward' : 'judge model'
    const found =
      method === 'reference policy'
        ? { ...reference, means: reference.means }
        : arms.find((entry) => entry.arm === arm?.id)
    return found ? [`${name} ${significant(found.mean)} / ${significant(found.variance)} (${found.means.length})`] : []
  })
  const own = method === 'variance-aware' && aware ? `${methodName(aware.method, aware.center)}: ` : ''
  return parts.length === 0 ? null : `${own}${parts.join('; ')}`
}
