/** Figures 1, 6 and 9: what the heads of an ensemble agree and disagree on. */
import type { Histogram, Summary } from '../../study/summary.js'
import { RECIPE_NAMES } from '../arms.js'
import { COLOURS, chart } from '../chart.js'
import type { Markup } from '../markup.js'

/** Figure 1: the scores of all heads on one prompt-response pair. */
export function oneResponseFigure(summary: Summary): Promise<Markup> {
  return oneResponseChart(summary.figures.oneResponse.scores)
}

export function oneResponseChart(scores: readonly number[]): Promise<Markup> {
  const values = scores.map((score, head) => ({ head: String(head + 1), score }))
  return chart('Score of each head on one response', {
    data: { values },
    width: 420,
    height: 180,
    mark: { type: 'bar', color: COLOURS.reference },
    encoding: {
      x: { field: 'head', type: 'ordinal', sort: null, title: 'reward head', axis: { labelAngle: 0 } },
      y: { field: 'score', type: 'quantitative', title: 'score' },
    },
  })
}

function bins(histogram: Histogram) {
  const total = histogram.counts.reduce((a, b) => a + b, 0) || 1
  return histogram.counts.map((count, i) => ({
    start: histogram.edges[i],
    end: histogram.edges[i + 1],
    share: count / total,
  }))
}

/** Figure 6: variance over heads (ddof 1) of accepted responses (top row) and of accepted - rejected (bottom row), by section. */
export async function variancesFigure(
  summary: Summary,
  recipe: Summary['figures']['variances'][number]['recipe'],
): Promise<Markup> {
  const rows = summary.figures.variances.filter((v) => v.recipe === recipe)
  return variancesChart(`Variance over heads by section, ${RECIPE_NAMES[recipe]}`, rows)
}

export interface SectionHistograms {
  section: string
  accepted: Histogram
  difference: Histogram
}

export function variancesChart(label: string, rows: readonly SectionHistograms[]): Promise<Markup> {
  const values = rows.flatMap(({ section, accepted, difference }) => [
    ...bins(accepted).map((bin) => ({ section, row: 'accepted', ...bin })),
    ...bins(difference).map((bin) => ({ section, row: 'accepted − rejected', ...bin })),
  ])
  return chart(label, {
    data: { values },
    facet: {
      row: { field: 'row', type: 'nominal', title: null, sort: ['accepted', 'accepted − rejected'] },
      column: { field: 'section', type: 'nominal', title: null, sort: rows.map((r) => r.section) },
    },
    spec: {
      width: 170,
      height: 110,
      mark: { type: 'bar', color: COLOURS.reference, binSpacing: 0 },
      encoding: {
        x: { field: 'start', type: 'quantitative', bin: { binned: true }, title: 'variance over heads' },
        x2: { field: 'end' },
        y: { field: 'share', type: 'quantitative', title: 'share of pairs', axis: { format: '.0%' } },
      },
    },
    resolve: { scale: { x: 'independent', y: 'independent' } },
  })
}

/** Figure 9: accuracy of each head and, in orange, of the fully fine-tuned single model, by section. */
export function accuraciesFigure(
  summary: Summary,
  recipe: Summary['figures']['accuracies'][number]['recipe'],
): Promise<Markup> {
  const rows = summary.figures.accuracies.filter((a) => a.recipe === recipe)
  return accuraciesChart(`Accuracy of each head and of the single model, ${RECIPE_NAMES[recipe]}`, rows)
}

export interface SectionBars {
  section: string
  heads: readonly number[]
  /** Of the fully fine-tuned single model, where there is one. */
  single?: number
}

export function accuraciesChart(label: string, rows: readonly SectionBars[]): Promise<Markup> {
  const values = rows.flatMap(({ section, heads, single }) => [
    ...heads.map((accuracy, head) => ({ section, model: String(head + 1), accuracy, kind: 'reward head' })),
    ...(single === undefined ? [] : [{ section, model: 'single', accuracy: single, kind: 'single reward model' }]),
  ])
  const order = [...new Set(values.map((v) => v.model))].sort((a, b) => (Number(a) || 1e6) - (Number(b) || 1e6))
  return chart(label, {
    data: { values },
    facet: { field: 'section', type: 'nominal', title: null, sort: rows.map((r) => r.section) },
    columns: 2,
    spec: {
      width: 380,
      height: 130,
      mark: { type: 'bar' },
      encoding: {
        x: { field: 'model', type: 'ordinal', sort: order, title: null, axis: { labelAngle: 0 } },
        y: {
          field: 'accuracy',
          type: 'quantitative',
          title: 'accuracy',
          scale: { domain: [0, 1] },
          axis: { format: '.0%' },
        },
        color: {
          field: 'kind',
          type: 'nominal',
          scale: { domain: ['reward head', 'single reward model'], range: [COLOURS.reference, '#e08a2e'] },
        },
      },
    },
  })
}
