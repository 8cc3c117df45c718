/** The report of a study, and of what else was made beside it: one self-contained page. */
import type { Summary } from '../study/summary.js'
import { experimentSections } from './experiment-report.js'
import { judgeSections } from './judge-report.js'
import { html, Markup } from './markup.js'
import { page } from './page.js'
import { paperRows } from './paper/rows.js'
import { paperSection } from './sections/paper.js'
import { comparison, training } from './sections/policies.js'
import { provenance } from './sections/provenance.js'
import { disagreement, models } from './sections/rewards.js'
import { couldItTell, headline, verdicts } from './sections/verdict.js'
import type { Source } from './sources.js'

const CONTENTS = [
  ['comparison', 'Policies'],
  ['verdicts', 'Verdicts'],
  ['paper', 'Beside the paper'],
  ['gate', 'Gate'],
  ['ppo', 'Training'],
  ['heads', 'Heads'],
  ['models', 'Models'],
  ['run', 'Run'],
] as const

/** @param beside further folders of the same report */
export async function studyReport(
  summary: Summary,
  folder = 'runs/NAME',
  beside: readonly Source[] = [],
): Promise<string> {
  const sections = await Promise.all([comparison(summary), training(summary), disagreement(summary), models(summary)])
  const [policies, curves, heads, trained] = sections
  const rows = paperRows([{ kind: 'study', folder, summary }, ...beside])
  const others = await Promise.all(beside.map(besideSections))
  return page(
    `${summary.name}: is uncertainty-aware RLHF more reliable here?`,
    html`<header><p class="soft">prudent · study “${summary.name}”</p>
<h1>Does a variance-weighted KL make policies less likely to end worse than where they started?</h1>
${headline(summary)}
<nav class="soft"><p>${CONTENTS.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</p></nav></header>
${policies}${verdicts(summary)}${paperSection(rows, scaleOf(summary))}${couldItTell(summary)}${curves}${heads}${trained}${others}${provenance(summary)}`,
  )
}

/** A page without a study of its own: what other commands made, and their place in the paper. */
export async function joinedReport(sources: readonly Source[]): Promise<string> {
  const others = await Promise.all(sources.map(besideSections))
  return page(
    'prudent: beside the paper',
    html`<header><h1>Beside the paper</h1></header>${paperSection(paperRows(sources), '')}${others}`,
  )
}

async function besideSections(source: Source): Promise<Markup> {
  if (source.kind === 'judge') return judgeSections(source.summary)
  if (source.kind === 'experiment') return experimentSections(source.summary)
  if (source.kind === 'study')
    return html`<section><h2>Study “${source.summary.name}”</h2>${headline(source.summary)}</section>`
  return html`<div class="beside"><p class="soft">From <code>${source.folder}</code>:</p>${new Markup(source.body)}</div>`
}

/** What was compared with what: the size of everything that the paper's numbers came from, here. */
export function scaleOf(summary: Summary): string {
  const { scorer, policy } = summary.languageModels
  const size = (parameters: number) => parameters.toLocaleString('en')
  const largest = Math.max(...summary.arms.map((arm) => arm.policies))
  return `Scale: policies of ${size(policy.parameters)} parameters (the paper: GPT-2, 124 million), a reward model of ${size(scorer.parameters)} (Gemma-2B), up to ${largest} policies a method (40 and 100). Config “${summary.name}”, printed in full at the end.`
}
