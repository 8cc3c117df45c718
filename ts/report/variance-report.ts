/** The variance study as Markdown and as a page: figures 1 and 6, error prediction, calibration, effective heads. */
import type { Interval } from '../evaluation/uncertainty/resampling.js'
import {
  type SectionStudy,
  SIGNALS,
  type Signal,
  type StatisticName,
} from '../evaluation/uncertainty/variance-study.js'
import { oneResponseChart, variancesChart } from './figures/heads.js'
import { reliabilityChart, riskCoverageChart } from './figures/uncertainty.js'
import { interval, significant } from './format.js'
import { html, type Markup, table } from './markup.js'
import { figure, page } from './page.js'
import { PAPER } from './paper-numbers.js'
import { textTable } from './text-table.js'

export interface EnsembleStudy {
  name: string
  models: { path: string; heads: number }[]
  headNames: string[]
  /** Figure 1: each head's score of one accepted response. */
  pairScores: number[]
  sections: SectionStudy[]
}

export interface VarianceReport {
  pair: { row: number; prompt: string; response: string; place: string }
  warnings: readonly string[]
  bootstrap: number
  seed: number
  ensembles: EnsembleStudy[]
}

type SectionRow = SectionStudy & { ensemble: string }

const sectionRows = ({ ensembles }: VarianceReport): SectionRow[] =>
  ensembles.flatMap(({ name, sections }) => sections.map((section) => ({ ...section, ensemble: name })))

const number = (value: number): string => (Number.isFinite(value) ? significant(value) : 'n/a')
const withInterval = (value: Interval): string => (Number.isFinite(value.estimate) ? interval(value, number) : 'n/a')

interface Column {
  title: string
  numeric?: boolean
  cell: (row: SectionRow) => string
}

const NAMES: Column[] = [
  { title: 'ensemble', cell: (row) => row.ensemble },
  { title: 'section', cell: (row) => row.section },
]
const of = (title: string, name: StatisticName): Column => ({
  title,
  numeric: true,
  cell: (row) => withInterval(row.statistics[name]),
})
const extreme = (title: string, side: 'accepted' | 'difference', end: 'min' | 'max'): Column => ({
  title,
  numeric: true,
  cell: (row) => number(row[side][end]),
})

const VARIANCES: Column[] = [
  ...NAMES,
  { title: 'pairs', numeric: true, cell: (row) => String(row.pairs) },
  of('accepted: mean', 'acceptedMean'),
  of('median', 'acceptedMedian'),
  extreme('min', 'accepted', 'min'),
  extreme('max', 'accepted', 'max'),
  of('difference: mean', 'differenceMean'),
  of('median', 'differenceMedian'),
  extreme('max', 'difference', 'max'),
]
const ERRORS: Column[] = [
  ...NAMES,
  of('error rate', 'errorRate'),
  ...(Object.keys(SIGNALS) as Signal[]).flatMap((signal) => [
    of(`AUROC, ${SIGNALS[signal]}`, `auroc.${signal}`),
    of('AURC', `aurc.${signal}`),
  ]),
]
const HEADS: Column[] = [
  ...NAMES,
  of('ECE, mean of probabilities', 'ece'),
  of('ECE, probability of mean score', 'eceOfMeanScore'),
  of('effective heads (errors)', 'effectiveHeads'),
  of('effective heads (1 − p)', 'effectiveHeadsOfResiduals'),
  of('mean error correlation', 'errorCorrelation'),
]

const PAPER_NOTE = `The paper's text gives variances of ${PAPER.varianceRange.join(' to ')} (mean above 4, median above 3), the caption of its figure 6 a median of ${PAPER.varianceMedian} and a maximum near ${PAPER.varianceMaximum}: 14 and 10 do not agree.`
const ERROR_NOTE =
  'AUROC: probability that a wrong pair has the higher value than a right one (0.5 says nothing). AURC: area under the risk-coverage curve (lower is better; the error rate itself says nothing).'
const HEADS_NOTE =
  'ECE: expected calibration error of the Bradley-Terry probability, 10 equal bins over [0.5, 1]. Effective heads: participation ratio of the correlation matrix of the heads’ errors, 1 for heads that err alike.'
const intervalsNote = ({ bootstrap, seed }: VarianceReport) =>
  `In brackets: 95 % percentile bootstrap over prompts, ${bootstrap} resamples, seed ${seed}.`

export function varianceMarkdown(report: VarianceReport): string {
  const rows = sectionRows(report)
  const { pair } = report
  const scores = report.ensembles.flatMap(({ name, headNames, pairScores }) =>
    pairScores.map((score, head) => ({ name, head: headNames[head] as string, score })),
  )
  return [
    '# Disagreement of reward heads\n',
    `## Figure 6: sample variance over heads (ddof 1)\n\n${textTable(VARIANCES, rows)}\n${PAPER_NOTE}\n`,
    `## Does disagreement predict errors?\n\n${textTable(ERRORS, rows)}\n${ERROR_NOTE}\n`,
    `## Calibration and effective heads\n\n${textTable(HEADS, rows)}\n${HEADS_NOTE}\n`,
    `## Figure 1: scores of the accepted response of ${pair.place}\n`,
    textTable(
      [
        { title: 'ensemble', cell: (row: (typeof scores)[number]) => row.name },
        { title: 'head', cell: (row) => row.head },
        { title: 'score', numeric: true, cell: (row) => number(row.score) },
      ],
      scores,
    ),
    `${[intervalsNote(report), ...report.warnings.map((warning) => `Note: ${warning}`)].join('\n\n')}\n`,
  ].join('\n')
}

export async function varianceHtml(report: VarianceReport): Promise<string> {
  const rows = sectionRows(report)
  const figures = await Promise.all(report.ensembles.map((ensemble) => ensembleFigures(ensemble, report)))
  return page(
    'Disagreement of reward heads',
    html`<h1>Disagreement of reward heads</h1>
${figures}
<h2>Variances over heads</h2>${table(VARIANCES, rows)}<p class="soft">${PAPER_NOTE}</p>
<h2>Does disagreement predict errors?</h2>${table(ERRORS, rows)}<p class="soft">${ERROR_NOTE}</p>
<h2>Calibration and effective heads</h2>${table(HEADS, rows)}<p class="soft">${HEADS_NOTE}</p>
<p class="soft">${intervalsNote(report)}</p>
${report.warnings.map((warning) => html`<p class="soft">Note: ${warning}</p>`)}`,
  )
}

async function ensembleFigures(ensemble: EnsembleStudy, { pair }: VarianceReport): Promise<Markup> {
  const { name, sections, models } = ensemble
  const all = sections.at(-1) as SectionStudy
  const [scores, variances, risk, calibration] = await Promise.all([
    oneResponseChart(ensemble.pairScores),
    variancesChart(`Variance over heads by section, ${name}`, sections),
    riskCoverageChart(all),
    reliabilityChart(all),
  ])
  return html`<h2>${name}</h2>
<p class="soft">${ensemble.headNames.length} heads of ${models.map((model) => model.path).join(', ')}</p>
${figure(scores, html`Figure 1: the score of each head. Prompt: “${pair.prompt}” Response: “${pair.response}”`)}
${figure(variances, 'Figure 6: sample variance over the heads (ddof 1) of the accepted response’s score (top) and of accepted − rejected (bottom).')}
${figure(risk, 'Error rate of the mean score among the pairs that each signal calls most certain; all pairs.')}
${figure(calibration, 'Accuracy by predicted probability (mean over heads of the Bradley–Terry probability); all pairs.')}`
}
