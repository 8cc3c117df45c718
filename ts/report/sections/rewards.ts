/** Figures 1, 6, 8 and 9, and how good sigma is. */
import type { Recipe, SigmaQuality, Summary } from '../../study/summary.js'
import { CENTER_NAMES, RECIPE_NAMES } from '../arms.js'
import { accuraciesFigure, oneResponseFigure, variancesFigure } from '../figures/heads.js'
import { lossesFigure } from '../figures/losses.js'
import { percent, significant } from '../format.js'
import { html, type Markup, table } from '../markup.js'
import { figure, section } from '../page.js'
import { PAPER } from '../paper-numbers.js'

const recipes = (rows: readonly { recipe: Recipe }[]): Recipe[] => [...new Set(rows.map((row) => row.recipe))]

export async function disagreement(summary: Summary): Promise<Markup> {
  const { oneResponse, variances, accuracies } = summary.figures
  const [first, byVariance, byAccuracy] = await Promise.all([
    oneResponseFigure(summary),
    Promise.all(recipes(variances).map(async (r) => ({ recipe: r, drawing: await variancesFigure(summary, r) }))),
    Promise.all(recipes(accuracies).map(async (r) => ({ recipe: r, drawing: await accuraciesFigure(summary, r) }))),
  ])
  return section(
    'heads',
    'Heads that agree on accuracy and disagree on scores',
    html`${figure(first, html`Figure 1: the score of each head (${RECIPE_NAMES[oneResponse.recipe]}) on one response. Prompt: “${oneResponse.prompt}” Response: “${oneResponse.response}”`)}
${byAccuracy.map(({ recipe, drawing }) => figure(drawing, `Figure 9: accuracy by section of each head (${RECIPE_NAMES[recipe]}) and of the single reward model.`))}
${byVariance.map(({ recipe, drawing }) => figure(drawing, `Figure 6: sample variance over the heads (${RECIPE_NAMES[recipe]}, ddof 1) of the accepted response’s score (top) and of accepted − rejected (bottom). The paper sees variances of ${PAPER.varianceRange.join(' to ')}.`))}
${accuracyTable(summary)}
<h3>How good is σ?</h3>
<p>Bradley–Terry fixes scores only up to a constant per head, so raw σ is mostly an offset between heads; centring takes each head’s mean
over reference responses off first.</p>
${sigmaTable(summary)}`,
  )
}

function accuracyTable(summary: Summary): Markup {
  const range = (values: readonly number[]) => `${percent(Math.min(...values))} – ${percent(Math.max(...values))}`
  return table(
    [
      { title: 'ensemble', cell: (e: Summary['ensembles'][number]) => `${RECIPE_NAMES[e.recipe]}, ${e.ensemble + 1}` },
      { title: 'steps', numeric: true, cell: (e) => e.steps },
      { title: 'held-out accuracy of the heads', numeric: true, cell: (e) => range(e.heldOutAccuracyPerHead) },
      {
        title: 'final loss',
        numeric: true,
        cell: (e) =>
          `${significant(Math.min(...e.finalLossPerHead))} – ${significant(Math.max(...e.finalLossPerHead))}`,
      },
    ],
    summary.ensembles,
  )
}

function sigmaTable(summary: Summary): Markup {
  return table(
    [
      { title: 'heads', cell: (s: SigmaQuality) => RECIPE_NAMES[s.recipe] },
      { title: 'σ', cell: (s) => CENTER_NAMES[s.center] },
      { title: 'mean', numeric: true, cell: (s) => significant(s.mean) },
      { title: 'CV over (x, y)', numeric: true, cell: (s) => significant(s.cv) },
      { title: 'within-prompt share', numeric: true, cell: (s) => percent(s.withinPromptShare) },
      { title: 'correlation with |error|', numeric: true, cell: (s) => significant(s.errorCorrelation) },
      { title: 'scarce / common', numeric: true, cell: (s) => significant(s.scarceCommonRatio) },
    ],
    summary.sigma,
  )
}

export async function models(summary: Summary): Promise<Markup> {
  const { scorer, policy } = summary.languageModels
  const language = [
    { name: 'scorer base', ...scorer },
    { name: 'policy', ...policy },
  ]
  const reward = [
    { name: 'reward model', ...summary.rewardModel },
    { name: 'judge model', ...summary.judgeModel },
  ]
  return section(
    'models',
    'The models',
    html`${figure(await lossesFigure(summary), 'Figure 8: training losses.')}
${table(
  [
    { title: 'language model', cell: (m: (typeof language)[number]) => m.name },
    { title: 'parameters', numeric: true, cell: (m) => m.parameters.toLocaleString('en') },
    { title: 'tokens seen', numeric: true, cell: (m) => m.tokens.toLocaleString('en') },
    { title: 'held-out perplexity', numeric: true, cell: (m) => significant(m.perplexity) },
    { title: 'of a bigram model', numeric: true, cell: (m) => significant(m.bigramPerplexity) },
  ],
  language,
)}
${table(
  [
    { title: 'reward model', cell: (m: (typeof reward)[number]) => m.name },
    { title: 'steps', numeric: true, cell: (m) => `${m.steps}${m.stoppedEarly ? ' (stopped early)' : ''}` },
    { title: 'held-out accuracy', numeric: true, cell: (m) => percent(m.heldOutAccuracy) },
    { title: 'of the true reward', numeric: true, cell: (m) => percent(m.truthAccuracy) },
    { title: 'Bayes ceiling', numeric: true, cell: (m) => percent(m.bayesCeiling) },
  ],
  reward,
)}
${independentModels(summary)}
<p class="soft">The judge model’s correlation with the true reward over reference responses: ${significant(summary.judgeModel.correlationWithTruth)}.</p>`,
  )
}

/** Figure 1's caption has its scores from models like these; figures 1 and 6 of them are below, where they were made. */
function independentModels({ independentModels: own }: Summary): Markup {
  if (own.length === 0) return html``
  const range = (values: readonly number[], print: (value: number) => string) =>
    `${print(Math.min(...values))} – ${print(Math.max(...values))}`
  const accuracy = range(
    own.map((model) => model.heldOutAccuracy),
    (x) => percent(x),
  )
  const loss = range(
    own.map((model) => model.finalLoss),
    (x) => significant(x),
  )
  return html`<p>${own.length} reward models trained in full on their own (other seeds, no early stop, ${own[0]?.steps} steps): held-out accuracy
${accuracy}, final loss ${loss}.</p>`
}
