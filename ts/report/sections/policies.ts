/** Figures 7, 10 and 11, the table of means and variances, and the calibration of beta. */
import type { Summary } from '../../study/summary.js'
import { armLabels } from '../arms.js'
import { curvesFigure } from '../figures/curves.js'
import { judgedFigure } from '../figures/judged.js'
import { percent, significant } from '../format.js'
import { html, type Markup, table } from '../markup.js'
import { figure, section } from '../page.js'
import { PAPER } from '../paper-numbers.js'
import { calibration } from './calibration.js'

interface MeanRow {
  judge: string
  method: string
  recipe: string
  policies: number
  mean: number
  variance: number
  risk: number | null
}

function meanRows(summary: Summary): MeanRow[] {
  const labels = armLabels(summary.arms)
  return summary.figures.judged.flatMap((judged) => {
    const judge = judged.judge === 'truth' ? 'true reward' : 'judge model'
    const { means, mean, variance } = judged.reference
    const reference: MeanRow = {
      judge,
      method: 'reference policy',
      recipe: '',
      policies: means.length,
      mean,
      variance,
      risk: null,
    }
    const arms = judged.arms.map((arm): MeanRow => {
      const label = labels.get(arm.arm)
      return {
        judge,
        method: label?.method ?? arm.arm,
        recipe: label?.recipe ?? '',
        policies: arm.means.length,
        mean: arm.mean,
        variance: arm.variance,
        risk: arm.riskBelowReference,
      }
    })
    return [reference, ...arms]
  })
}

function meansTable(summary: Summary): Markup {
  return table(
    [
      { title: 'judged by', cell: (r: MeanRow) => r.judge },
      { title: 'method', cell: (r) => r.method },
      { title: 'heads', cell: (r) => r.recipe },
      { title: 'policies', numeric: true, cell: (r) => r.policies },
      { title: 'mean', numeric: true, cell: (r) => significant(r.mean) },
      { title: 'variance', numeric: true, cell: (r) => significant(r.variance) },
      { title: 'below the reference', numeric: true, cell: (r) => (r.risk === null ? '' : percent(r.risk)) },
    ],
    meanRows(summary),
  )
}

const paperTable = () =>
  table(
    [
      { title: 'the paper’s figure 7', cell: (r: (typeof PAPER.figure7)[number]) => r.method },
      { title: 'mean', numeric: true, cell: (r) => r.mean },
      { title: 'variance', numeric: true, cell: (r) => r.variance },
    ],
    PAPER.figure7,
  )

export async function comparison(summary: Summary): Promise<Markup> {
  const drawings = await Promise.all(summary.figures.judged.map((judged) => judgedFigure(summary, judged)))
  return section(
    'comparison',
    'Where the policies end',
    html`${drawings.map((drawing, i) =>
      figure(
        drawing,
        `Figure 7 of the paper on this study, judged by ${summary.figures.judged[i]?.judge === 'truth' ? 'the known true reward' : 'a separately trained judge model'}: each tick is one policy’s mean over its responses, the reference is sampled as often.`,
      ),
    )}
${meansTable(summary)}
${paperTable()}`,
  )
}

export async function training(summary: Summary): Promise<Markup> {
  const [kl, reward] = await Promise.all([
    curvesFigure(summary, 'kl', 'KL to the reference, nats'),
    curvesFigure(summary, 'proxyReward', 'proxy reward'),
  ])
  return section(
    'ppo',
    'How they got there',
    html`${figure(kl, `Figure 10: KL to the reference by step, mean and standard deviation over the policies of a method. The paper ends between ${PAPER.finalKl.join(' and ')} nats.`)}
${figure(reward, 'Figure 11: proxy reward (the head that the policy is trained on) by step, mean and standard deviation.')}
${calibration(summary)}`,
  )
}
