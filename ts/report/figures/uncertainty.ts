/** Figures of the variance study that the paper does not have: risk against coverage, and reliability. */
import { type SectionStudy, SIGNALS, type Signal } from '../../evaluation/uncertainty/variance-study.js'
import { COLOURS, chart } from '../chart.js'
import type { Markup } from '../markup.js'

const SIGNAL_COLOURS: Record<Signal, string> = {
  stdDifference: COLOURS.sigma,
  stdBothSides: COLOURS.shuffled,
  relative: COLOURS.reference,
  margin: COLOURS.constant,
}

export function riskCoverageChart(study: SectionStudy): Promise<Markup> {
  const names = Object.keys(SIGNALS) as Signal[]
  const values = names.flatMap((signal) =>
    study.riskCoverage[signal].map((point) => ({ ...point, signal: SIGNALS[signal] })),
  )
  return chart(`Error rate among the most certain pairs, ${study.section}`, {
    data: { values },
    width: 420,
    height: 200,
    mark: { type: 'line', strokeWidth: 1.5 },
    encoding: {
      x: { field: 'coverage', type: 'quantitative', title: 'share of pairs kept', axis: { format: '.0%' } },
      y: { field: 'risk', type: 'quantitative', title: 'error rate', axis: { format: '.0%' } },
      color: {
        field: 'signal',
        type: 'nominal',
        scale: { domain: names.map((name) => SIGNALS[name]), range: names.map((name) => SIGNAL_COLOURS[name]) },
        legend: { columns: 1 },
      },
    },
  })
}

/** Points at the bins' mean confidence; the line is perfect calibration. */
export function reliabilityChart(study: SectionStudy): Promise<Markup> {
  const values = study.reliability.filter((bin) => bin.pairs > 0)
  return chart(`Accuracy by predicted probability, ${study.section}`, {
    width: 260,
    height: 200,
    layer: [
      {
        data: {
          values: [
            { confidence: 0.5, accuracy: 0.5 },
            { confidence: 1, accuracy: 1 },
          ],
        },
        mark: { type: 'line', color: COLOURS.constant, strokeDash: [4, 4] },
        encoding: { x: { field: 'confidence', type: 'quantitative' }, y: { field: 'accuracy', type: 'quantitative' } },
      },
      {
        data: { values },
        mark: { type: 'point', filled: true, color: COLOURS.reference, opacity: 0.9 },
        encoding: {
          x: {
            field: 'confidence',
            type: 'quantitative',
            title: 'probability given to the preferred side',
            scale: { domain: [0.5, 1] },
          },
          y: { field: 'accuracy', type: 'quantitative', title: 'accuracy', scale: { domain: [0, 1] } },
          size: { field: 'pairs', type: 'quantitative', legend: null },
        },
      },
    ],
  })
}
