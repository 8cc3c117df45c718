/** Figure 8: training loss of the reward model (and of the others that were trained). */
import type { Summary } from '../../study/summary.js'
import { chart } from '../chart.js'
import type { Markup } from '../markup.js'

export function lossesFigure(summary: Summary): Promise<Markup> {
  const series = [
    { model: 'scorer, language model', loss: summary.languageModels.scorer.loss },
    { model: 'policy, language model', loss: summary.languageModels.policy.loss },
    { model: 'reward model', loss: summary.rewardModel.loss },
    { model: 'judge model', loss: summary.judgeModel.loss },
    // A judge that existed before the study has no curve.
  ].filter(({ loss }) => loss.length > 0)
  return lossesChart(series)
}

export interface LossSeries {
  model: string
  loss: readonly { step: number; loss: number }[]
}

/** One panel a model, each with axes of its own. */
export function lossesChart(series: readonly LossSeries[]): Promise<Markup> {
  return chart('Training losses', {
    data: { values: series.flatMap(({ model, loss }) => loss.map((point) => ({ model, ...point }))) },
    facet: { field: 'model', type: 'nominal', title: null, sort: series.map((s) => s.model) },
    columns: 2,
    spec: {
      width: 380,
      height: 150,
      mark: { type: 'line', strokeWidth: 1.5 },
      encoding: {
        x: { field: 'step', type: 'quantitative', title: 'optimiser step' },
        y: { field: 'loss', type: 'quantitative', title: 'loss', scale: { zero: false } },
      },
    },
    resolve: { scale: { x: 'independent', y: 'independent' } },
  })
}
