/** The headline, the verdicts with their intervals, and whether the study could tell at all. */
import type { Check, Summary, Verdict } from '../../study/summary.js'
import { CENTER_NAMES, RECIPE_NAMES } from '../arms.js'
import { interval, percent, significant } from '../format.js'
import { html, type Markup, table } from '../markup.js'
import { section } from '../page.js'

export function headline(summary: Summary): Markup {
  const { outcome, sentence } = summary.headline
  return html`<div class="verdict ${outcome.replace(' ', '-')}"><strong class="word">${outcome}</strong><br>${sentence}</div>`
}

function checks(rows: readonly Check[]): Markup {
  return table(
    [
      { title: 'check', cell: (c: Check) => c.name },
      { title: 'value', numeric: true, cell: (c) => significant(c.value) },
      { title: 'rule', numeric: true, cell: (c) => `${c.rule === '>=' ? '≥' : '≤'} ${significant(c.threshold)}` },
      {
        title: '',
        cell: (c) => (c.passed ? html`<span class="passed">passed</span>` : html`<span class="failed">failed</span>`),
      },
      { title: 'meaning', cell: (c) => c.meaning },
    ],
    rows,
  )
}

export function couldItTell(summary: Summary): Markup {
  return section(
    'gate',
    'Could this study tell?',
    html`<p>Before any policy of the comparison was trained, on other data: is σ heterogeneous, and does it know where the
heads err? If not, σ-weighted KL is vanilla with another β, and the comparison says nothing.</p>
${checks(summary.gate)}
<p>And were the models really trained? If one of these fails, the report says “not trained” in place of a verdict.</p>
${checks(summary.preconditions)}`,
  )
}

function name(verdict: Verdict): Markup {
  const text = `${RECIPE_NAMES[verdict.recipe]}, ${CENTER_NAMES[verdict.center]}, judged by ${verdict.judge === 'truth' ? 'the true reward' : 'the judge model'}`
  return verdict.primary ? html`<b>${text}</b> (primary)` : html`${text}`
}

export function verdicts(summary: Summary): Markup {
  const { level, rules, list } = summary.verdicts
  return section(
    'verdicts',
    'Verdicts',
    html`<p>Rules, written in the config before the run; intervals at ${percent(level, 0)}:</p>
<ol>${rules.map((rule) => html`<li>${rule}</li>`)}</ol>
${table(
  [
    { title: 'comparison', cell: name },
    {
      title: 'verdict',
      cell: (v: Verdict) => html`<span class="${v.outcome}"><span class="word">${v.outcome}</span></span>`,
    },
    { title: 'variance ratio', numeric: true, cell: (v) => interval(v.varianceRatio) },
    { title: 'risk difference', numeric: true, cell: (v) => interval(v.riskDifference) },
    { title: 'mean difference', numeric: true, cell: (v) => interval(v.meanDifference) },
    {
      title: 'KL difference',
      numeric: true,
      cell: (v) => `${interval(v.klDifference, (x) => percent(x))}${v.klDifference.matched ? '' : ' (not matched)'}`,
    },
    { title: 'Pitman–Morgan p', numeric: true, cell: (v) => significant(v.pitmanMorgan.p, 2) },
    {
      title: 'Brown–Forsythe p (as in the paper)',
      numeric: true,
      cell: (v) => significant(v.asInPaper.brownForsythe.p, 2),
    },
  ],
  list,
)}
<p class="soft">Treatment against baseline. A variance ratio below 1 and a risk difference below 0 favour the treatment. The test “as in
the paper” takes all policies as independent, which they are not; it is no basis of the verdict.</p>
<details><summary>How each verdict was reached</summary>
${list.map((v) => html`<h3>${name(v)}: ${v.outcome}</h3><ul>${v.reasons.map((reason) => html`<li>${reason}</li>`)}</ul>`)}</details>`,
  )
}
