/** The report of a study: summary.json in, one self-contained page out. */
import type { Summary } from '../study/summary.js'
import { html } from './markup.js'
import { page } from './page.js'
import { comparison, training } from './sections/policies.js'
import { provenance } from './sections/provenance.js'
import { disagreement, models } from './sections/rewards.js'
import { couldItTell, headline, verdicts } from './sections/verdict.js'

const CONTENTS = [
  ['comparison', 'Policies'],
  ['verdicts', 'Verdicts'],
  ['gate', 'Gate'],
  ['ppo', 'Training'],
  ['heads', 'Heads'],
  ['models', 'Models'],
  ['run', 'Run'],
] as const

export async function studyReport(summary: Summary): Promise<string> {
  const sections = await Promise.all([comparison(summary), training(summary), disagreement(summary), models(summary)])
  const [policies, curves, heads, trained] = sections
  return page(
    `${summary.name}: is uncertainty-aware RLHF more reliable here?`,
    html`<header><p class="soft">prudent · study “${summary.name}”</p>
<h1>Does a variance-weighted KL make policies less likely to end worse than where they started?</h1>
${headline(summary)}
<nav class="soft"><p>${CONTENTS.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</p></nav></header>
${policies}${verdicts(summary)}${couldItTell(summary)}${curves}${heads}${trained}${provenance(summary)}`,
  )
}
